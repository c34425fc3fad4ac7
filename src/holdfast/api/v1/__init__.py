"""The API of Trigger.dev, as its official client ``@trigger.dev/sdk`` knows it: under ``/api/v1`` to ``/api/v3``.

An app in TypeScript triggers tasks that are written in Python, and follows their runs, with two environment variables
and that package as it is. What there is of it:

    wire        the words of that API: ids, times, statuses
    failures    why a run has no output
    shown       a run of ours as a run of theirs; the one place where that is decided
    spans       what a run did when, as a tree of theirs
    packets     payloads and outputs in the encodings that the client uses
    documents   what a route takes and answers, read, written, and told to OpenAPI
    routes      all of it in one router: trigger, runs
"""

"""The same workload for Holdfast and its peers, side by side on one machine, so that ratios mean something.

    python -m benchmarks                          everything, three times, and one table
    python -m benchmarks --peers holdfast huey    some of them
    make bench-peers

    __main__   what was asked, and the order of the runs
    peers      who takes part: versions, settings and why
    measure    one measurement: enqueue, drain, idle latency
    machine    whose CPU it was: ours, or somebody else's
    stores     Redis, PostgreSQL and SQLite files of our own, on loopback
    places     where peers are installed: a folder that may be thrown away
    report     the table
    jobs/      one program for each peer; runs in the peer's own interpreter, and knows nothing of the rest

docs/peers.md says what the settings are and what each peer keeps and loses.
"""

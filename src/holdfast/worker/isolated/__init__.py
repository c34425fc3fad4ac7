"""Runs in processes of their own.

    worker ── pool ──────► zygote ── fork ──► carry: one process for one run
       │                                        │
       └── attempt ◄──────── wire ──────────────┘

    wire      what a worker and such a process say to each other
    zygote    a process with one thread that has imported the app: it forks, watches, kills and buries
    pool      the worker's side of it: processes that wait for a run
    attempt   the worker's side of one attempt: an attempt like others, whose code is elsewhere
    carry     the process of a run: it waits for its job, carries it out, and ends
    guest     an ordinary attempt whose worker is elsewhere; alone, one that does without an event loop
    confine   what a machine means on this host: cgroups, else limits, watching, affinity
    ended     what the end of such a process means

The worker alone holds the run: its fence, its outcome, its log, and what it records go through the worker's own rounds.
Code that triggers, or asks for runs, opens a connection of its own, with the fence of its attempt.
"""

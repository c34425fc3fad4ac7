"""The engine: plain functions of a transaction, a file per family of verbs.

    trigger    make runs                       claim      give runs to a worker, with what it has finished
    limits     lanes: who may have a slot      cancel     cancel, and replay
    reap       what time does: lost workers, TTL, retention
    catalogue  tasks, queues, routes           workers    registration, beats
    debounce   many triggers, one run          read       what readers ask
    states     the table of states

Everything here is ``f(tx, …)``: it does nothing but SQL and may be run again from the top. It knows names and plain
option values, never task objects. ``storage`` is the only thing it stands on.
"""

"""The command ``holdfast``: a file per command.

    main       finds the command, tells errors in three parts, decides the exit code
    options    the options that many commands share
    place      which app and which database are meant
    show       tables, times, colours; plain when piped, one JSON document with ``--json``
    worker · runs/ · queues · trigger · tasks · workers · doctor · migrate

A command is a module here with a ``typer.Typer`` called ``app``, and a line in ``main.COMMANDS``; it is imported when
it is called. Exit codes: 0, 1 if the answer is no (a run failed, something is wrong), 2 if it could not be done.
"""

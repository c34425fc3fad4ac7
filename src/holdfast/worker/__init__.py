"""Workers: processes that claim runs and carry them out.

    supervisor   starts worker processes, beats for them, replaces those that die
    channel      what those two say to each other
    leftovers    what a process has started, and who ends it
    embedded     a worker inside another process

    worker       claim, dispatch, drain: the rounds of one process
    hold         what it holds: attempts, and their slots
    outbox       what it has to tell the database: outcomes and log lines
    pace         what to ask for: how fast runs end here, and where the lines begin
    home         what it is given by an app and by whoever starts it
    live         one attempt: from the claimed record to its outcome
    wrapped      one attempt with something around it
    around       … middleware around providers around the task
    hooks        … hooks: how one is called, and when it is given up
    told         … what hooks are told
    scopes       … providers: opened, shared, closed
    aftermath    hooks of runs that ended while no worker carried them out
    settle       other people's code, run so that whatever it does comes back as a value
    outcome      what an ending means for the run: decided purely
    capture      log lines and prints, kept per run

The process that runs a worker under a supervisor is ``holdfast.child``, since it finds the app.
"""

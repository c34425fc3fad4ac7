"""Workers: processes that claim runs and carry them out.

supervisor   starts worker processes, beats for them, replaces those that die
channel      what those two say to each other
worker       claim, dispatch, drain: the rounds of one process
live         one attempt: from the claimed record to its outcome
outcome      what an ending means for the run: decided purely
capture      log lines and prints, kept per run
embedded     a worker inside another process
"""

"""What tests with processes of their own share.

jobs        the app that their workers run: tasks that leave evidence
ledger      the evidence: lines in a file, appended by whoever does something
host        a supervisor in a process of its own, with its worker processes
supervise   the program that such a process runs
inside      workers in the test's own process, on its event loop
proxy       a TCP proxy that can be cut
"""

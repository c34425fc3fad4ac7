"""The API of Mergent, as its clients know it: tasks and schedules under ``/v2``.

refused     errors, in the one form they have
reading     what a caller sends: names, durations, timestamps, requests
tasks       a task here is a request that belongs to no task of the code's: a run of ``http``
schedules   what makes such tasks again and again
"""

"""Holdfast over HTTP.

app      the routes: is the process up, does its database answer, and a page that says what is here
gate     what stands before every route
auth     who calls, and what a route needs of them
refused  errors, as callers read them
limit    how many calls are answered
page     that page
tokens   the URL of a token, for those outside
v2       HTTP tasks and schedules, as Mergent had them
"""

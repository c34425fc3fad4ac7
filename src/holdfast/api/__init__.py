"""Holdfast over HTTP.

app      the routes: is the process up, does its database answer, and a page that says what is here
auth     who may ask
limit    how many calls are answered
page     that page
tokens   the URL of a token, for those outside
v2       HTTP tasks and schedules, as Mergent had them
"""

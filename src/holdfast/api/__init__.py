"""Holdfast over HTTP.

app      the routes: is the process up, does its database answer, and a page that says what is here
auth     who may ask
page     that page
v2       HTTP tasks and schedules, as Mergent had them
"""

"""Holdfast over HTTP.

app      the routes: is the process up, does its database answer, and a page that says what is here
page     that page
"""

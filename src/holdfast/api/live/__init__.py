"""What changes, for those who follow it over HTTP.

topics    what is followed, and what has become of it: shared by all who follow the same
hub       asks the database, for everybody, what has changed
routes    runs by id, by tag and by batch, as server-sent events or as the client's subscriptions ask
events    server-sent events, as they go over the wire
rows      the long polls of Trigger.dev's client
streams   what a run says piece by piece
writing   what others add to that
"""

"""Controls a running service: one Unix socket, and the reload for it and for SIGHUP.

``protocol`` defines the messages, ``server`` answers and ``client`` asks. ``commands`` has the commands, ``status`` the
state of the service, and ``remote`` the service for `pitcore update`. ``reload`` builds a new model beside the old one
on a thread. ``memory`` makes the C library return the memory of the old one.
"""

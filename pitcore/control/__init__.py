"""Control of a running service: one Unix socket, and the reload that both it and SIGHUP ask for.

``protocol`` says what goes over the socket, ``server`` answers and ``client`` asks. ``commands`` is what can be asked,
``status`` what the service tells of itself, ``remote`` the service as `pitcore update` sees it. ``reload`` is the
thread that builds a new model beside the old, ``memory`` what it takes for the old one's memory to come back.
"""

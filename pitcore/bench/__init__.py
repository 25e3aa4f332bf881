"""``pitcore-bench``: what the service costs on this machine.

It measures the very ``App`` that the service runs, from outside: through its metrics and its hooks.
"""

"""Publishes data of the service outside the line: to Prometheus and to an MQTT broker.

Each output has its own thread and reads the counters of the running service; the loop never waits for an output. An
output that fails does not stop the inspection: it retries, and its status is ``failing``.
"""

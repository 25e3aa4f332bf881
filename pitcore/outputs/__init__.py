"""Publishes data of the service over a network: to a PLC by Modbus, to Prometheus, and to an MQTT broker.

Each output has its own thread. It reads counters of the running service or gets its verdicts; the loop never waits for
an output. An output that fails does not stop the inspection: it retries, and its status is ``failing``.
"""

"""What the service tells others beside the line: Prometheus, and an MQTT broker.

Each output has a thread of its own, reads what the running service counted, and keeps the loop waiting for nothing.
One that cannot work does not stop the inspection: it is tried again and shown as failing.
"""

"""Alerts: what is worth a message, whether it was alerted of already, and the delivery of it.

Nothing here decides when to look: `pipelines.sensors` does.
"""

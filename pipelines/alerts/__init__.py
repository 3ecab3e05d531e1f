"""Being told: what is worth a message, whether people were told already, and the delivery of it.

Nothing here decides when to look: `pipelines.sensors` does.
"""

"""Reading the fleet database: somebody else's production system, which is only ever read."""

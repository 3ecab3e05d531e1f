"""The outside world: the fleet database, the report store, the history database."""

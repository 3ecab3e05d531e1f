"""The embedded PostgreSQL, for a machine that has no other."""

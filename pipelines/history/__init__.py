"""The history database: a PostgreSQL of ours that keeps every deployment and the newest status."""

"""What every connection to a PostgreSQL has in common, whichever of the four databases it is to."""

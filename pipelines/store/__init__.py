"""The files: published partitions, staged extracts, and how each is replaced whole."""

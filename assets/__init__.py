"""What exists: the data products, their columns, their checks and how each is computed."""

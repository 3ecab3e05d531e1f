"""The demo fleet: a made-up Crystal Forge database, for newcomers, tests and benchmarks."""

"""Benches: lookups beside other indexes, and pings end to end. `python -m bench` runs the short ones."""

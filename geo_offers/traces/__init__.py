"""Traces: one phone's pings among some fences, explained fix by fix, and kept with what should come of them."""

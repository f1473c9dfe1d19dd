"""The aiohttp edge: one table of calls, decoded, authenticated and bounded in one place, answered as JSON."""

"""Where things are: geometry, fences, the index over them, and the advice a phone gets. Pure."""

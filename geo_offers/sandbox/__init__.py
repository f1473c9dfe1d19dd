"""Bounded child processes for work that others' input can make run away; POSIX only."""

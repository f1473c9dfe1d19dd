"""Readers of other people's files: each yields drafts of fences or faults that say what to do."""

"""Which campaign answers an arrival, and whether it may: caps, gates, ranking, rendering, the decision."""

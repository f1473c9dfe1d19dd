"""The use cases: pings through the engine, the decision turn, delivery, the live feed; over small ports."""

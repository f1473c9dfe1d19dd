"""geo-offers: real-time proximity offers that are right for the person, the moment and the place."""

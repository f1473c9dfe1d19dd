"""Calls to where tenants and clients say: a session that opens connections to public addresses only."""

from geo_offers.egress.session import guarded_session

__all__ = ["guarded_session"]

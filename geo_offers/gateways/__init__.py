"""One module a lane: each takes a message to where a phone, a gateway or an operator sees it."""

"""The demo: invented people walk through an invented town, and a page shows what the service makes of it."""

"""How well arrivals are told from noise: invented people with known paths, their phones' errors, and what is scored."""

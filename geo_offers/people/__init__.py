"""What a person allows: consent per purpose, the rhythm of offers, quiet hours."""

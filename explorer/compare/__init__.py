"""Compare: captions side by side for the base and every epoch; what changed, which deserve an eye, and how to take it along."""

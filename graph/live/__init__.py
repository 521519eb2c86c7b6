"""A run at an exchange that keeps its own time: the live broker on record, and everything around it put together."""

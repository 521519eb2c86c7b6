"""Strategies as configuration (empty until the research lab is built)."""

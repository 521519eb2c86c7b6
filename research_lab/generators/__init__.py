"""Hypothesis generators (empty until the research lab is built)."""

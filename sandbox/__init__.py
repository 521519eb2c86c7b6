"""Isolation and the LLM gateway (empty until the research lab is built)."""

"""Execution and portfolio: orders, positions, admission."""

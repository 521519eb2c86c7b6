"""Logs, records and metrics."""

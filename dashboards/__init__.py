"""Exporter, Grafana provisioning, live page."""

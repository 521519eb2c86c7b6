"""Dump of the metrics to Prometheus text and to CSV, without a scraping server (requirement I4b)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from core.errors import StateError

CSV_COLUMNS: tuple[str, ...] = ("metric", "type", "sample", "labels", "value")


def dump_prometheus(collector: Collector) -> str:
    """All metrics now, in Prometheus' text format, as a scrape would give them."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def dump_csv(collector: Collector, path: Path | str) -> Path:
    """All samples now as CSV: metric, type, sample, labels in order of name (``a=x;b=y``), value.

    An existing file is replaced whole.

    Raises:
        StateError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CSV_COLUMNS)
            writer.writerows(_samples(collector))
        partial.replace(path)
    except OSError as error:
        raise StateError(
            f"metrics cannot be written to {path}: {error.strerror or error}",
            help="choose a folder that you may write to",
            code="MON-002",
        ) from error
    return path


def _samples(collector: Collector) -> Iterator[tuple[str, str, str, str, str]]:
    for family in collector.collect():
        for sample in family.samples:
            labels = ";".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            yield family.name, family.type, sample.name, labels, repr(float(sample.value))

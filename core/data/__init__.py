"""Market data: sources, feed, quality checks, features, health."""

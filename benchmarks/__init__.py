"""How fast and how large the system is, as ratios measured within one run."""

"""Anti-look-ahead and unit tests of candidates (empty until the research lab is built)."""

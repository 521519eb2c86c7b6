"""Back-tests of candidates (empty until the research lab is built)."""

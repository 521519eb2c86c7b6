"""Champion/challenger gates (empty until the research lab is built)."""

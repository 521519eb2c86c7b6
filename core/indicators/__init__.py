"""Technical indicators: pure functions over whole histories."""

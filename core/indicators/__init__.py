"""Technical indicators: pure functions over whole histories, and the same values bar by bar."""

"""Where raw market data comes from: replay, synthetic, and (later) the exchange."""

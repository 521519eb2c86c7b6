"""Tools of the market_regime agent."""

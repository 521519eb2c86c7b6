"""Tools of the strategy_selection agent."""

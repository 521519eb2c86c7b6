"""Tools of the risk_manager agent."""

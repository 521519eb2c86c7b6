"""Tools of the monitor agent."""

"""Tools of the execution agent."""

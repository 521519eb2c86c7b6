"""Tools of the research agent."""

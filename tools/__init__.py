"""One capability each, and the one table of agents, tools and edges."""

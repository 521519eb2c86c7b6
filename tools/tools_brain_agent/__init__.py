"""Tools of the brain agent."""

"""The brain: StateGraph, direct runner, daemon, command line (the only room that wires things)."""

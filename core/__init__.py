"""The deterministic ground: data, indicators, strategies, risk, execution, simulation, monitoring."""

"""Strategies: entry rules over features, and what they ask of exits."""

from core.strategies.registry import build_strategies

__all__ = ["build_strategies"]

"""Tests of the whole tree; they mirror it."""

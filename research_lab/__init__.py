"""Candidates, generators, back-tests and gates; the core never imports it."""

"""Risk: sizing, exits, the governor. Every branch of this room is under test."""

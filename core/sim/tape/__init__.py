"""A market tick by tick, as the local exchange plays it: from bars, from a recording, or pushed in from outside."""

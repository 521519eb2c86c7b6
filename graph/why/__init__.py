"""Why something was done, or was not: the whole chain with its numbers, and what would have turned it."""

"""The session journal: every input of every decision, and what each node made of it, on disk and hash-chained (G10)."""

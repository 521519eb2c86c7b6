"""What is particular about a venue: making its client, its budget, its clock, and its words in the house's terms."""

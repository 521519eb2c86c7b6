"""The one matching engine behind replay and paper."""

"""YAML configuration and the pydantic schemas that guard it."""

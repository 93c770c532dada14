"""All Dagster code: thin assets, one file per stage, and what they share."""

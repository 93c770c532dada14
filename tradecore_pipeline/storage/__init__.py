"""The only Parquet and DuckDB code: where a home's files lie, how days are stored, and the SQL views over them."""

"""HOW bytes move: Delta tables through one `Lakehouse`, SQL models, and DuckDB views for readers."""

"""HOW messages become immutable objects, and how these are listed and read. No Delta and no Dagster here."""

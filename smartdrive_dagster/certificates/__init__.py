"""HOW a certificate of the REST API is checked: its signature, its figures, its rows against the lake."""

"""WHY: pure functions from frames to frames. No I/O, no clock, no Dagster; secrets come in as arguments."""

"""The collector: reads a car, never flattens its battery, never loses a start."""

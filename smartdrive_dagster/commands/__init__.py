"""Commands of `smartdrive` that look at, recompute or rebuild what the lake has made of its messages."""

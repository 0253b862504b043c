"""Commands of `smartdrive`, a module per subject; `cli` registers them."""

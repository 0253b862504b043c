"""The commands of `smartdrive-edge`, one module each; `cli` registers them."""

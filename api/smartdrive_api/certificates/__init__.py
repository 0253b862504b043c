"""The certificate of a vehicle: a signed PDF with the rows from which anybody can recompute its figures."""

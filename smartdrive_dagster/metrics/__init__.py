"""What the lake says of itself in numbers: one catalogue of names, written for Prometheus at home and EMF in AWS.

Nothing here looks at a table: values are measured in `defs`, where work is derived, and in `watch`.
"""

"""Recorded logs: from the files of other recorders, by small declarative mappings, to landing objects."""

"""Vehicles: who registered which, who may see it, and what proves that it is theirs."""

"""Erasure: what an owner asks for, and what becomes of it. The lake fulfils it in every store."""

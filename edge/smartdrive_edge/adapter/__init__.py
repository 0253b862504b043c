"""Reading a car through an ELM327 adapter: what may be asked, asking it, and what the answers mean."""

"""WHAT THE CODES MEAN: the tables of trouble codes that ship with the code, and the one that an owner imports.

The only package beside `domain` that knows them; it reads files and hands values to the pure functions there.
"""

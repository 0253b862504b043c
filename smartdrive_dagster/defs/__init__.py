"""WHEN: assets, sensors, schedules and checks, and the joins of domain and lake that they run.

The only package that imports dagster.
"""

"""WHEN: assets, sensors, schedules and checks, and the joins of domain and lake that they run.

The only package that imports dagster.
"""

import warnings

# Dagster builds each sensor anew with a parameter that nobody gave, and warns of it on every command.
warnings.filterwarnings("ignore", message="Parameter `owners` of initializer `SensorDefinition")

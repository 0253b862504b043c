"""Telemetry that clients send over HTTPS: whose it is, and its way into a landing object."""

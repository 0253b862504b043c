"""What the lake has found out about a vehicle, as it is published to the schema `serving`."""

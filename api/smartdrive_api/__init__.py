"""The SmartDrive REST API: accounts, sessions and vehicles on PostgreSQL."""

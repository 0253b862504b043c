"""Who calls: registrations, passwords, sessions and tokens (OWASP ASVS 5, level 2, for sessions)."""

"""How people are told: messages, the channels that carry them, and the outbox that remembers what was sent."""

"""A broker for homes without Mosquitto: amqtt's MQTT 3.1.1 behind our own door.

amqtt keeps sessions, subscriptions and the conversation with a client. What it leaves open is closed here:

- `server` takes connections: TLS 1.3, a certificate of our authority for everyone, bounds on numbers and time, one
  connection per name, and a CONNECT that agrees with the certificate before amqtt hears of it. (amqtt deletes or
  takes over the session that a CONNECT names before it asks whether the client may.)
- `stream` cuts what arrives into packets of bounded size and reads no further while a client takes nothing.
- `access` says who may publish and subscribe what: the rules of Mosquitto's access list.
- `outbox` is what a session waits for, bounded, kept over connections. (amqtt's own has no bound, and drops what
  is not PUBACKed within 5 s: a lander PUBACKs when it has landed.)
- `broker` puts access and outbox into amqtt.

Sessions live in memory: an end of the process ends them.
"""

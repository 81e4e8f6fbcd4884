"""Real servers on one host: PostgreSQL, Redis, RabbitMQ and Apache Kafka on 127.0.0.1.

`python -m deploy.local up` uses the servers that run already and starts the others; `down` stops
only those that it started. Each server has a module that probes and starts it; `control` has the
commands.
"""

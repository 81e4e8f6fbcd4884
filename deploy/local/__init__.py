"""Real servers on one host: PostgreSQL, Redis, RabbitMQ and Apache Kafka on 127.0.0.1.

`python -m deploy.local up` uses what answers already and starts the rest; `down` ends only what it
started. It runs before anything else is installed, so nothing here imports more than the standard
library. One module a server tells how to ask it and how to start it; `control` does the rest.
"""

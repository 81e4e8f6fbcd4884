"""Real servers on one host: PostgreSQL, Redis, RabbitMQ and Apache Kafka on 127.0.0.1.

`python -m deploy.local up` uses the servers that answer already and starts the others; `down` stops
only those that it started. One module for each server holds how to probe and how to start it;
`control` holds the commands.
"""

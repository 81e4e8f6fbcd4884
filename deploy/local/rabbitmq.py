"""RabbitMQ: the actors' queues, in a virtual host of our own."""

import os
import subprocess
from pathlib import Path

import pika

from deploy.local.install import program
from deploy.local.ports import HOST
from deploy.local.probe import ANSWER_WITHIN_S, client_errors
from deploy.local.server import PASSWORD, USER, VHOST, Launch, Server

CONFIGURATION = """\
listeners.tcp.default = {host}:{port}
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
log.file = rabbitmq.log
log.file.level = info
"""
"""RabbitMQ creates the defaults at the first start on empty data only."""


def probe(port: int) -> str:
    """Log in to our virtual host as our user; returns the version."""
    parameters = pika.ConnectionParameters(
        host=HOST,
        port=port,
        virtual_host=VHOST,
        credentials=pika.PlainCredentials(USER, PASSWORD),
        connection_attempts=1,
        socket_timeout=ANSWER_WITHIN_S,
        stack_timeout=ANSWER_WITHIN_S,
        blocked_connection_timeout=ANSWER_WITHIN_S,
    )
    with client_errors(port):
        connection = pika.BlockingConnection(parameters)
        try:
            # Only the connection inside of the blocking one has the server's properties.
            return str(connection._impl.server_properties["version"])
        finally:
            connection.close()


def prepare(home: Path, port: int) -> Launch:
    """Write the configuration and return the node, which shares nothing with a system's own."""
    (home / "log").mkdir(parents=True, exist_ok=True)
    (home / "rabbitmq.conf").write_text(configuration(port))
    (home / "enabled_plugins").write_text("[].\n")
    (home / "env.conf").touch()
    environment = {
        "HOME": str(home),  # the cookie lies here
        "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_NODENAME": "killstream@localhost",
        "RABBITMQ_DIST_PORT": str(port + 1),
        # Its script then becomes the node itself, so that a signal reaches the right process.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_START_ARGS": "-noinput",
        # Schedulers that spin while idle would take the processor from the other servers.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
        "-kernel inet_dist_use_interface {127,0,0,1}",
        **_epmd_environment(port),
    }
    return Launch([program("rabbitmq-server")], environment)


def configuration(port: int) -> str:
    """Return `rabbitmq.conf` for a node on this port."""
    return CONFIGURATION.format(host=HOST, port=port, user=USER, password=PASSWORD, vhost=VHOST)


def end_epmd(port: int) -> None:
    """End the port mapper that our node started; it refuses while a node is still registered."""
    environment = {**os.environ, **_epmd_environment(port)}
    subprocess.run(
        [program("epmd"), "-kill"], env=environment, capture_output=True, check=False, timeout=10
    )


def _epmd_environment(port: int) -> dict[str, str]:
    """Give our node a port mapper of its own: nothing of a system's own is touched or ended."""
    return {"ERL_EPMD_PORT": str(port + 2), "ERL_EPMD_ADDRESS": HOST}


SERVER = Server(
    name="rabbitmq",
    title="RabbitMQ",
    port=5672,
    setting="KILLSTREAM_RABBITMQ_URL",
    url=f"amqp://{USER}:{PASSWORD}@127.0.0.1:{{port}}/{VHOST}",
    programs={"rabbitmq-server": "rabbitmq-server"},
    probe=probe,
    prepare=prepare,
    clean_up=end_epmd,
)

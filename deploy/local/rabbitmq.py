"""RabbitMQ, for the actors' queues, in a separate virtual host."""

import os
import subprocess
from pathlib import Path

import pika

from deploy.local.install import program
from deploy.local.ports import HOST
from deploy.local.probe import ANSWER_S, client_errors
from deploy.local.server import PASSWORD, USER, VHOST, Launch, Server

MANAGEMENT_OFFSET = 3
"""From AMQP's port to the management API's; the two between are Erlang's."""
CONFIGURATION = """\
listeners.tcp.default = {host}:{port}
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
management.tcp.ip = {host}
management.tcp.port = {management_port}
log.file = rabbitmq.log
log.file.level = info
"""
"""RabbitMQ creates user and virtual host only at the first start with empty data."""


def probe(port: int) -> str:
    """Log in to our virtual host as our user; return the version."""
    parameters = pika.ConnectionParameters(
        host=HOST,
        port=port,
        virtual_host=VHOST,
        credentials=pika.PlainCredentials(USER, PASSWORD),
        connection_attempts=1,
        socket_timeout=ANSWER_S,
        stack_timeout=ANSWER_S,
        blocked_connection_timeout=ANSWER_S,
    )
    with client_errors(port):
        connection = pika.BlockingConnection(parameters)
        try:
            # The blocking connection doesn't expose the server's properties.
            return str(connection._impl.server_properties["version"])
        finally:
            connection.close()


def prepare(home: Path, port: int) -> Launch:
    """Write the configuration and return the command of a node independent of the system's."""
    (home / "log").mkdir(parents=True, exist_ok=True)
    (home / "rabbitmq.conf").write_text(configuration(port))
    (home / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (home / "env.conf").touch()
    environment = {
        "HOME": str(home),  # directory of the Erlang cookie
        "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_NODENAME": "killstream@localhost",
        "RABBITMQ_DIST_PORT": str(port + 1),
        # Makes the script exec the node, so that signals reach the node.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_START_ARGS": "-noinput",
        # Idle schedulers must not busy-wait.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
        "-kernel inet_dist_use_interface {127,0,0,1}",
        **_epmd_environment(port),
    }
    return Launch([program("rabbitmq-server")], environment)


def configuration(port: int) -> str:
    """Return `rabbitmq.conf` for a node on this port."""
    return CONFIGURATION.format(
        host=HOST,
        port=port,
        management_port=port + MANAGEMENT_OFFSET,
        user=USER,
        password=PASSWORD,
        vhost=VHOST,
    )


def more_settings(port: int) -> dict[str, str]:
    """Return the settings of a node that we started, besides its URL."""
    return {"KILLSTREAM_RABBITMQ_MANAGEMENT_URL": f"http://{HOST}:{port + MANAGEMENT_OFFSET}"}


def stop_epmd(port: int) -> None:
    """Stop our node's port mapper (epmd), which refuses while a node is registered."""
    environment = {**os.environ, **_epmd_environment(port)}
    subprocess.run(
        [program("epmd"), "-kill"], env=environment, capture_output=True, check=False, timeout=10
    )


def _epmd_environment(port: int) -> dict[str, str]:
    """Return the settings of a separate port mapper (epmd), independent of the system's."""
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
    clean_up=stop_epmd,
    more_settings=more_settings,
)

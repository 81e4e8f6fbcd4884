"""RabbitMQ: the actors' queues, in a virtual host of our own."""

import os
import socket
import struct
import subprocess
from pathlib import Path

from deploy.local.install import program
from deploy.local.server import PASSWORD, USER, VHOST, Launch, Refused, Server
from deploy.local.wire import HOST, conversation, read_exactly, read_sized

CONFIGURATION = """\
listeners.tcp.default = {host}:{port}
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
log.file = rabbitmq.log
log.file.level = info
"""
"""The defaults are created at the first start on empty data, and only then."""

_HEADER = b"AMQP\0\0\x09\x01"
_START, _START_OK, _TUNE, _TUNE_OK, _OPEN, _OPEN_OK, _CLOSE = 10, 11, 30, 31, 40, 41, 50


def probe(port: int) -> str:
    """Log in to our virtual host as our user.

    Source: the AMQP 0-9-1 specification, class `connection` (read 2026-11-21).
    """
    with conversation(port) as connection:
        connection.sendall(_HEADER)
        version = _version(_receive(connection, _START))
        login = f"\0{USER}\0{PASSWORD}".encode()
        # This capability makes a wrong password a reason instead of a hang-up.
        wish = _short("authentication_failure_close") + b"t\x01"
        client = _long(_short("capabilities") + b"F" + _long(wish))
        _send(connection, _START_OK, client + _short("PLAIN") + _long(login) + _short("en_US"))
        limits = _receive(connection, _TUNE)
        _send(connection, _TUNE_OK, limits)
        _send(connection, _OPEN, _short(VHOST) + b"\0\0")
        _receive(connection, _OPEN_OK)
        _send(connection, _CLOSE, b"\0\xc8" + _short("") + b"\0\0\0\0")
        return version


def _receive(connection: socket.socket, expected: int) -> bytes:
    """Return the arguments of the expected method of class `connection`."""
    kind, _, size = struct.unpack("!BHI", read_exactly(connection, 7))
    frame = read_sized(connection, size)
    read_exactly(connection, 1)
    if kind != 1:
        raise Refused("it speaks another protocol")
    class_id, method = struct.unpack_from("!HH", frame)
    if (class_id, method) == (10, _CLOSE):
        raise Refused(frame[7 : 7 + frame[6]].decode(errors="replace"))
    if (class_id, method) != (10, expected):
        raise Refused(f"method {class_id}.{method} came instead of 10.{expected}")
    return frame[4:]


def _send(connection: socket.socket, method: int, arguments: bytes) -> None:
    frame = struct.pack("!HH", 10, method) + arguments
    connection.sendall(struct.pack("!BHI", 1, 0, len(frame)) + frame + b"\xce")


def _version(start: bytes) -> str:
    """Pick `version` out of the server's properties without decoding the whole table."""
    _, found, rest = start.partition(_short("version") + b"S")
    return rest[4 : 4 + int.from_bytes(rest[:4])].decode() if found else "unknown version"


def _short(word: str) -> bytes:
    return bytes([len(word)]) + word.encode()


def _long(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


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
        "RABBITMQ_DIST_PORT": str(port + 20000),
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
    return {"ERL_EPMD_PORT": str(port + 25000), "ERL_EPMD_ADDRESS": HOST}


SERVER = Server(
    name="rabbitmq",
    title="RabbitMQ",
    port=5672,
    setting="KILLSTREAM_RABBITMQ_URL",
    url=f"amqp://{USER}:{PASSWORD}@127.0.0.1:{{port}}/{VHOST}",
    needs={"rabbitmq-server": "rabbitmq-server"},
    probe=probe,
    prepare=prepare,
    clean_up=end_epmd,
)

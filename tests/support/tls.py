"""Redis and RabbitMQ with TLS on 127.0.0.1, with certificates of an authority made for them."""

import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika
import redis
from pika.exceptions import AMQPError

from deploy.local import process, rabbitmq
from deploy.local.ports import HOST, next_free_server_port
from deploy.local.server import PASSWORD, USER, VHOST, Launch

_STARTED_WITHIN_S = 60
_STOPPED_WITHIN_S = 20
_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
_RABBITMQ_TLS = """\
listeners.tcp = none
listeners.ssl.default = {host}:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
"""


@dataclass(frozen=True)
class Certificates:
    """Files of the authority and of the servers, in PEM."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class TlsServers:
    """Where the servers are, and the authority that a client has to trust."""

    redis_url: str
    rabbitmq_url: str
    ca: Path


@contextmanager
def tls_servers(folder: Path) -> Iterator[TlsServers]:
    """Run a Redis and a RabbitMQ that take TLS connections only; end both with the block."""
    certificates = make_certificates(folder)
    with ExitStack() as stack:
        redis_url = stack.enter_context(_redis(folder / "redis", certificates))
        rabbitmq_url = stack.enter_context(_rabbitmq(folder / "rabbitmq", certificates))
        yield TlsServers(redis_url, rabbitmq_url, certificates.ca)


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate for localhost and 127.0.0.1, valid for two days."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    made = Certificates(ca, folder / "server.pem", folder / "server.key")
    _openssl(ca, ca_key, "Killstream test authority")
    names = f"subjectAltName=DNS:localhost,IP:{HOST}"
    signed = ("-CA", str(ca), "-CAkey", str(ca_key), "-addext", names)
    plain = ("-addext", "basicConstraints=critical,CA:FALSE")
    _openssl(made.certificate, made.key, "localhost", *signed, *plain)
    return made


def _openssl(certificate: Path, key: Path, name: str, *options: str) -> None:
    files = ("-out", str(certificate), "-keyout", str(key))
    subject = ("-subj", f"/CN={name}", "-days", "2")
    command = ["openssl", "req", "-x509", *_EC_KEY, *subject, *files, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def _redis(home: Path, certificates: Certificates) -> Iterator[str]:
    home.mkdir()
    port = _free_port()
    program = shutil.which("redis-server")
    assert program, "no redis-server: run `just services` first"
    options = {
        "bind": HOST,
        "port": "0",
        "tls-port": str(port),
        "tls-ca-cert-file": str(certificates.ca),
        "tls-cert-file": str(certificates.certificate),
        "tls-key-file": str(certificates.key),
        "tls-auth-clients": "no",
        "dir": str(home),
        "save": "",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    url = f"rediss://{HOST}:{port}/0"

    def is_available() -> bool:
        with redis.Redis.from_url(url, ssl_ca_certs=str(certificates.ca)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    with _running(Launch([program, *flags]), home / "log", port):
        assert process.wait_until(is_available, _STARTED_WITHIN_S), (home / "log").read_text()
        yield url


@contextmanager
def _rabbitmq(home: Path, certificates: Certificates) -> Iterator[str]:
    port = _free_port()
    launch = rabbitmq.prepare(home, port)
    configuration = home / "rabbitmq.conf"
    plain = f"listeners.tcp.default = {HOST}:{port}\n"
    tls = _RABBITMQ_TLS.format(
        host=HOST,
        port=port,
        ca=certificates.ca,
        certificate=certificates.certificate,
        key=certificates.key,
    )
    configuration.write_text(configuration.read_text().replace(plain, tls))
    url = f"amqps://{USER}:{PASSWORD}@{HOST}:{port}/{VHOST}"
    parameters = pika.URLParameters(url)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    parameters.ssl_options = pika.SSLOptions(context, HOST)

    def is_available() -> bool:
        try:
            pika.BlockingConnection(parameters).close()
        except (AMQPError, OSError):
            return False
        return True

    try:
        with _running(launch, home / "node.log", port):
            assert process.wait_until(is_available, _STARTED_WITHIN_S), (
                home / "node.log"
            ).read_text()
            yield url
    finally:
        rabbitmq.stop_epmd(port)


def _free_port() -> int:
    """Choose by this process: RabbitMQ listens seconds later, when others have chosen theirs."""
    return next_free_server_port(22_000 + os.getpid() % 1000 * 10)


@contextmanager
def _running(launch: Launch, log: Path, port: int) -> Iterator[None]:
    started = process.spawn(launch, log, port)
    try:
        yield
    finally:
        if not process.terminate(started, signal.SIGTERM, _STOPPED_WITHIN_S):
            process.kill(started)

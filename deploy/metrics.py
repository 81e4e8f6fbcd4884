"""Serve `/metrics` and health of a process, or of a group of processes, on a separate port."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import WSGIApplication

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from actors.shared.errors import Misconfigured
from actors.shared.settings import PREFIX, Settings
from deploy.process_health import ProcessHealth, with_health

SHARED_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the directory of a group's counts; prometheus_client reads it at import."""

log: Final = structlog.get_logger()


@contextmanager
def serving_metrics(settings: Settings, health: ProcessHealth, *more: Collector) -> Iterator[None]:
    """Serve the metrics of this process and of `more`, and its health, until the block ends.

    Does nothing when no port is set.

    Raises:
        Misconfigured: the port is in use.
    """
    with _registered(more), _serving(settings, health, REGISTRY):
        yield


@contextmanager
def serving_group_metrics(settings: Settings, health: ProcessHealth) -> Iterator[None]:
    """Serve the sums of the child processes' metrics until the block ends, and this one's health.

    Children that are started within the block count in files of a new directory, which this process
    reads.

    Raises:
        Misconfigured: the port is in use.
    """
    if not settings.metrics_port:
        yield
        return
    registry = CollectorRegistry()
    with TemporaryDirectory(prefix="killstream-metrics-") as shared:
        MultiProcessCollector(registry, path=shared)  # type: ignore[no-untyped-call]
        os.environ[SHARED_DIR] = shared
        try:
            with _serving(settings, health, registry):
                yield
        finally:
            del os.environ[SHARED_DIR]


@contextmanager
def _registered(collectors: tuple[Collector, ...]) -> Iterator[None]:
    for collector in collectors:
        REGISTRY.register(collector)
    try:
        yield
    finally:
        for collector in collectors:
            REGISTRY.unregister(collector)


@contextmanager
def _serving(
    settings: Settings, health: ProcessHealth, registry: CollectorRegistry
) -> Iterator[None]:
    if not settings.metrics_port:
        yield
        return
    server = _listen(settings, with_health(health, make_wsgi_app(registry)))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    address = f"http://{settings.api_host}:{settings.metrics_port}/metrics"
    log.info("metrics.served", address=address)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingWSGIServer):
    request_queue_size = 64


class _Ipv6Server(_Server):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Log nothing of a request."""


def _listen(settings: Settings, app: WSGIApplication) -> ThreadingWSGIServer:
    host, port = settings.api_host, settings.metrics_port
    kind = _Ipv6Server if ":" in host else _Server
    try:
        return make_server(host, port, app, kind, handler_class=_SilentHandler)
    except OSError as error:
        raise Misconfigured(
            f"can't serve metrics on {host} port {port} ({error.strerror}): set"
            f" {PREFIX}METRICS_PORT to a free port, one for each process on a host"
        ) from None

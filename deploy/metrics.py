"""Serve `/metrics` of a process, or of a group of processes, on a separate port."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from actors.shared.errors import Misconfigured
from actors.shared.settings import PREFIX, Settings

SHARED_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the directory of a group's counts; prometheus_client reads it at import."""

log: Final = structlog.get_logger()


@contextmanager
def serving_metrics(settings: Settings, *more: Collector) -> Iterator[None]:
    """Serve the metrics of this process and of `more` until the block ends.

    Does nothing when no port is set.

    Raises:
        Misconfigured: the port is in use.
    """
    with _registered(more), _serving(settings, REGISTRY):
        yield


@contextmanager
def serving_group_metrics(settings: Settings) -> Iterator[None]:
    """Serve the sums of the child processes' metrics until the block ends.

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
            with _serving(settings, registry):
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
def _serving(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    if not settings.metrics_port:
        yield
        return
    host, port = settings.api_host, settings.metrics_port
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise Misconfigured(
            f"can't serve metrics on {host} port {port} ({error.strerror}): set"
            f" {PREFIX}METRICS_PORT to a free port, one for each process on a host"
        ) from None
    log.info("metrics.served", address=f"http://{host}:{port}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Redis: budgets, locks and the push channel. Nothing in it has to survive a restart."""

from pathlib import Path

from deploy.local.install import program
from deploy.local.server import Launch, Refused, Server
from deploy.local.wire import HOST, conversation


def probe(port: int) -> str:
    """Ask PING, then the version."""
    with conversation(port) as connection, connection.makefile("rwb") as stream:
        stream.write(b"PING\r\n")
        stream.flush()
        answer = stream.readline().strip()
        if answer != b"+PONG":
            raise Refused(answer.decode(errors="replace")[:120] or "it closed the connection")
        stream.write(b"INFO server\r\n")
        stream.flush()
        header = stream.readline()
        info = stream.read(int(header[1:])).decode()
    return next(
        (line.partition(":")[2] for line in info.splitlines() if line.startswith("redis_version:")),
        "unknown version",
    )


def prepare(home: Path, port: int) -> Launch:
    """Run without persistence: what Redis holds is rebuilt, so a disk would only slow it down."""
    home.mkdir(parents=True, exist_ok=True)
    options = {"bind": HOST, "port": str(port), "dir": str(home), "save": "", "appendonly": "no"}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Launch([program("redis-server"), *flags])


SERVER = Server(
    name="redis",
    title="Redis",
    port=6379,
    setting="KILLSTREAM_REDIS_URL",
    url="redis://127.0.0.1:{port}/0",
    needs={"redis-server": "redis-server"},
    probe=probe,
    prepare=prepare,
)

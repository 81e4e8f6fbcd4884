"""Apache Kafka: the topics. One node that is broker and controller (KRaft), from Maven's jars."""

import json
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from deploy.local.install import program, say
from deploy.local.server import Launch, Refused, Server, Trouble
from deploy.local.wire import HOST, conversation, next_free_port, read_exactly, read_sized

VERSION = "4.1.1"
JARS = {
    "org.apache.kafka:kafka_2.13": VERSION,
    "org.apache.logging.log4j:log4j-slf4j-impl": "2.25.1",
    "org.apache.logging.log4j:log4j-core": "2.25.1",
}
"""Without a binding and a configuration for log4j, Kafka prints nothing, not even why it ended."""

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group of one process needn't wait for others that might join.
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker may register again only when its old session is over.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
}
_LOG4J = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server
logger.server.level = INFO
"""
_DEPENDENCY = """\
    <dependency>
      <groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
    </dependency>
"""
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>killstream</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""
_API_VERSIONS, _METADATA = 18, 3


def probe(port: int) -> str:
    """Ask ApiVersions, then whether a broker is there to take topics.

    A Kafka that starts answers the first before it can do the second.

    Source: the Kafka protocol guide (read 2026-11-21).
    """
    with conversation(port) as connection:
        (error,) = struct.unpack_from("!h", _ask(connection, _API_VERSIONS, 0, b""))
        if error:
            raise Refused(f"ApiVersions answered with error {error}")
        answer = _ask(connection, _METADATA, 4, struct.pack("!i?", 0, False))
        _throttle_ms, brokers = struct.unpack_from("!ii", answer)
        if not brokers:
            raise Refused("it knows no broker yet")
    return "unknown version"


def _ask(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    client = b"killstream-probe"
    request = struct.pack("!hhih", api, version, api, len(client)) + client + body
    connection.sendall(struct.pack("!i", len(request)) + request)
    (size,) = struct.unpack("!i", read_exactly(connection, 4))
    answer = read_sized(connection, size)
    if answer[:4] != struct.pack("!i", api):
        raise Refused("it speaks another protocol")
    return answer[4:]


def prepare(home: Path, port: int) -> Launch:
    """Fetch the jars once, format the log directory once, and return the broker."""
    home.mkdir(parents=True, exist_ok=True)
    _fetch_jars(home)
    configuration = home / "server.properties"
    configuration.write_text(properties(home / "logs", port, next_free_port(port + 1)))
    (home / "log4j2.properties").write_text(_LOG4J)
    if not (home / "logs" / "meta.properties").exists():
        cluster = _java(home, "kafka.tools.StorageTool", "random-uuid").split()[-1]
        _java(home, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(configuration))
    return Launch([*_command(home), "-Xms256m", "-Xmx512m", "kafka.Kafka", str(configuration)])


def properties(logs: Path, port: int, controller_port: int) -> str:
    """Return `server.properties` for a node on these two ports."""
    addresses = {
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "log.dirs": str(logs),
    }
    return "".join(f"{name}={value}\n" for name, value in {**PROPERTIES, **addresses}.items())


def pom() -> str:
    """Return the Maven project whose dependencies are the jars to run."""
    dependencies = "".join(
        _DEPENDENCY.format(group=group, artifact=artifact, version=version)
        for name, version in JARS.items()
        for group, artifact in [name.split(":")]
    )
    return _POM.format(dependencies=dependencies)


def _fetch_jars(home: Path) -> None:
    """Copy the jars beside the data; the mark says which ones, so that a half copy is redone."""
    library, mark = home / "lib", home / "jars.json"
    if mark.exists() and json.loads(mark.read_text()) == JARS:
        return
    say(f"Apache Kafka: fetching {VERSION} with Maven, about 45 MB, once")
    shutil.rmtree(library, ignore_errors=True)
    (home / "pom.xml").write_text(pom())
    fetch = ["dependency:copy-dependencies", f"-DoutputDirectory={library}"]
    done = subprocess.run(
        [program("mvn"), "-B", "-q", "-f", str(home / "pom.xml"), *fetch],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Trouble(f"Apache Kafka: Maven couldn't fetch the jars:\n{done.stdout[-2000:]}")
    mark.write_text(json.dumps(JARS))


def _java(home: Path, *arguments: str) -> str:
    command = [*_command(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"Apache Kafka: {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _command(home: Path) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}"
    return [program("java"), "-cp", f"{home / 'lib'}/*", logging]


SERVER = Server(
    name="kafka",
    title="Apache Kafka",
    port=9092,
    setting="KILLSTREAM_KAFKA_URL",
    url="kafka://127.0.0.1:{port}",
    needs={"java": "default-jre-headless", "mvn": "maven"},
    probe=probe,
    prepare=prepare,
    version=VERSION,
)

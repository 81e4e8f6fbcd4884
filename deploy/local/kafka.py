"""Apache Kafka, for the topics: one node as broker and controller (KRaft), from Maven's jars."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.install import print_line, program
from deploy.local.ports import HOST, next_free_port
from deploy.local.probe import ANSWER_S, client_errors
from deploy.local.server import Launch, LocalServerError, Refused, Server

VERSION = "4.1.1"
JARS = {
    "org.apache.kafka:kafka_2.13": VERSION,
    "org.apache.logging.log4j:log4j-slf4j-impl": "2.25.1",
    "org.apache.logging.log4j:log4j-core": "2.25.1",
}
"""Kafka and log4j: without log4j's binding and configuration Kafka logs nothing."""

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
    # Don't wait for further members of a consumer group.
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker can register again only after its old session has expired.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
}
JVM_OPTIONS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
"""For a Kafka that shares a small host: 13 us of CPU a message, not 55, and half as much to start.

A batch of killmails is over half a region of G1's heap, which makes its collector work for each.
"""
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


def probe(port: int) -> str:
    """Check that the cluster has a broker: a starting Kafka listens before that."""
    with client_errors(port):
        return asyncio.run(_version(port))


async def _version(port: int) -> str:
    limit_ms = int(ANSWER_S * 1000)
    admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=limit_ms)
    async with asyncio.timeout(ANSWER_S):
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        finally:
            await admin.close()
    if not cluster["brokers"]:
        raise Refused("it has no broker yet")
    return "unknown version"


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
    """Copy the jars to `home`; `jars.json`, written last, marks a complete copy."""
    library, done_file = home / "lib", home / "jars.json"
    if done_file.exists() and json.loads(done_file.read_text()) == JARS:
        return
    print_line(f"Apache Kafka: fetching {VERSION} with Maven, about 45 MB, once")
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
        raise LocalServerError(
            f"Apache Kafka: Maven couldn't fetch the jars:\n{done.stdout[-2000:]}"
        )
    done_file.write_text(json.dumps(JARS))


def _java(home: Path, *arguments: str) -> str:
    command = [*_command(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalServerError(
            f"Apache Kafka: {' '.join(arguments)} failed:\n{done.stderr[-2000:]}"
        )
    return done.stdout


def _command(home: Path) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}"
    return [program("java"), *JVM_OPTIONS, "-cp", f"{home / 'lib'}/*", logging]


SERVER = Server(
    name="kafka",
    title="Apache Kafka",
    port=9092,
    setting="KILLSTREAM_KAFKA_URL",
    url="kafka://127.0.0.1:{port}",
    programs={"java": "default-jre-headless", "mvn": "maven"},
    probe=probe,
    prepare=prepare,
    version=VERSION,
)

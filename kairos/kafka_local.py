"""A local Apache Kafka (KRaft, one node) from the jars that Maven fetches; needs Java 17 or newer."""

import base64
import contextlib
import os
import re
import shutil
import subprocess
import uuid
from hashlib import blake2b
from importlib import resources
from pathlib import Path

from events.bus import MAX_MESSAGE_BYTES, BusUnavailable, connect
from events.faults import Refusal
from kairos.local import HOST, Server, ServerFailed, free_port, start_on_free_port

JARS = Path("var/kafka")
"""Where the jars are kept, below the folder we run in, so that Maven is asked once."""

_RESOLVE_S = 600
_HEAP = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_LOG4J = """log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c{1} %m%n
"""


class KafkaUnavailable(Refusal):
    """A local Kafka cannot be had here; the message says why and what would help."""


def start_kafka(folder: Path, jars: Path = JARS) -> Server:
    """An Apache Kafka that keeps its data in `folder`, on free loopback ports, ready to answer.

    A second start on the same folder goes on with its data. Errors: `KafkaUnavailable` without
    Java, Maven or the jars; `ServerFailed` when the broker itself does not get ready.
    """
    java = _java()
    class_path = f"{_resolve(jars)}/*"
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log4j.properties").write_text(_LOG4J)
    command = [java, *_HEAP, f"-Dlog4j.configuration=file:{folder}/log4j.properties", "-cp", class_path]

    def build(port: int) -> Server:
        properties = folder / f"server-{port}.properties"
        properties.write_text(_properties(folder, port, free_port()))
        _format(command, folder, properties)
        argv = [*command, "kafka.Kafka", str(properties)]
        url = f"kafka://{HOST}:{port}"
        return Server("kafka", url, port, folder, argv, lambda _: _answered(url), 240.0)

    return start_on_free_port(build)


def _properties(folder: Path, port: int, controller: int) -> str:
    wire = MAX_MESSAGE_BYTES + 1_000_000
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": wire,
        "replica.fetch.max.bytes": wire,
        "socket.request.max.bytes": 4 * wire,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        # A restart on the same folder should not wait for the old session of the killed broker.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "initial.broker.registration.timeout.ms": 60_000,
        "controlled.shutdown.enable": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format(command: list[str], folder: Path, properties: Path) -> None:
    """Lay out Kafka's storage, unless the folder holds one already."""
    if (folder / "data" / "meta.properties").exists():
        return
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # In one word with its option: one id in 64 begins with a hyphen.
    tool = "kafka.tools.StorageTool"
    asked = [*command, tool, "format", f"--cluster-id={cluster}", "-c", str(properties)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ServerFailed(f"kafka: expected to format {folder}, found: {done.stdout}{done.stderr}")


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise KafkaUnavailable("kafka: expected java on PATH, found none; install Java 17 or newer")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < 17:
        raise KafkaUnavailable(f"kafka: expected Java 17 or newer, found {said.strip()!r}")
    return java


def _resolve(jars: Path) -> Path:
    """The folder of jars, fetched through Maven unless it is there for this very pom."""
    pom = resources.files("kairos").joinpath("kafka/pom.xml").read_bytes()
    folder = jars.resolve() / blake2b(pom, digest_size=6).hexdigest()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable("kafka: expected mvn on PATH to fetch Kafka's jars, found none; install Maven")
    jars.mkdir(parents=True, exist_ok=True)
    # Fetched aside and moved at once: who finds the folder finds it whole, however many start together.
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        aside.mkdir(exist_ok=True)
        (aside / "pom.xml").write_bytes(pom)
        _fetch(maven, aside)
        with contextlib.suppress(OSError):  # another process was first
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _fetch(maven: str, folder: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    asked = [maven, "-B", "-q", "-f", str(folder / "pom.xml"), *goal]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_RESOLVE_S, check=False)
    except subprocess.TimeoutExpired:
        raise KafkaUnavailable(f"kafka: Maven did not fetch the jars in {_RESOLVE_S} s; try again") from None
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[:10])
        raise KafkaUnavailable(f"kafka: expected Maven to fetch the jars, found:\n{said}")


def _answered(url: str) -> str | None:
    try:
        connect(url, timeout_s=0.0, waiting=lambda _: None).close()
    except BusUnavailable as error:
        return str(error)
    return None

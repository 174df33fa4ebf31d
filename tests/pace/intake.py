"""What intake costs an event at full load, side by side for several checkouts: a script, no test.

    PYTHONPATH=. python tests/pace/intake.py --tree . --tree ../before --runs 3

Two real servers; topic `shop` holds `--events` basket lines of the grocery playbook by `--customers`
cards, drawn evenly. Each run is a process of its own that takes them all in, with an empty state server
(`cold`) or one that knows every card (`known`). Printed: microseconds of processor for an event, of
intake itself (all its threads, from its first read to its last write), of the bus and of the state server.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import redis

from events.bus import Message, connect
from events.codec import render_cloudevent, render_time
from events.contract import load_contracts
from events.topics import layout
from kairos.local import Server, start_redis

PARTITIONS = 2
START = 1_500_264_000_000
CHILD = """
import json, resource, sys, threading, time
from dataclasses import make_dataclass
from pathlib import Path
from stream import intake
wanted = int(sys.argv[2])
setup = json.loads(sys.argv[1])
for name in ("playbook", "run_dir"):
    setup[name] = Path(setup[name])
setup = make_dataclass("Setup", setup)(**setup)
stop = threading.Event()
flow, take = intake.run_flow, intake.IntakeStage.take
def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def measured(*args, **named):
    began, clock = usage(), time.perf_counter()
    flow(*args, **named)
    used, clock = usage() - began, time.perf_counter() - clock
    most = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    print(json.dumps({"intake": used, "wall": clock, "rss": most}))
def counted(self, polls):
    take(self, polls)
    if self._counters.values.get("records", 0) >= wanted:
        stop.set()
intake.run_flow, intake.IntakeStage.take = measured, counted
intake.run(setup, stop)
"""


def basket_lines(events: int, customers: int, seed: int = 5) -> list[Message]:
    """Basket lines as a till would send them, a second between two."""
    dice = random.Random(seed)
    lines = []
    for n in range(events):
        at = START + n * 1_000
        data = {
            "line_id": f"{40_000_000_000 + n}-{n % 7}",
            "bought_at": render_time(at),
            "card": str(dice.randrange(customers)),
            "amount": dice.randrange(50, 4_000) / 100,
            "quantity": dice.randrange(1, 4),
            "discount": dice.randrange(0, 90) / 100,
            "coupon_discount": 0.0,
            "department": dice.choice(("GROCERY", "PRODUCE", "DRUG GM", "MEAT")),
            "category": dice.choice(("SOFT DRINKS", "CHEESE", "BREAD", "TROPICAL FRUIT", "BEEF")),
            "store": str(300 + n % 90),
            "basket": str(40_000_000_000 + n // 5),
        }
        value = render_cloudevent("basket_line", f"line-{n}", "/till", data)
        lines.append(Message("shop", n % PARTITIONS, data["card"].encode(), value))
    return lines


def spent(client: "redis.Redis") -> float:
    """Seconds of processor that a server has used."""
    info: dict[str, float] = client.info("cpu")  # type: ignore[assignment]
    return info["used_cpu_user"] + info["used_cpu_sys"]


def run(tree: Path, servers: list[Server], events: int, profile: str | None) -> dict[str, float]:
    """One intake over the whole topic: seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        setup = {
            "playbook": str(tree / "playbooks" / "grocery"),
            "run_dir": folder,
            "bus": servers[0].url,
            "redis": servers[1].url,
            "mlflow": "",
            "project": "kairos",
            "partitions": PARTITIONS,
            "clock": "wall",
            "wait_s": 10.0,
            "log_level": "info",
        }
        clients = [redis.Redis(port=server.port) for server in servers]
        for n in range(PARTITIONS):
            clients[0].delete(f"kairos:bus:behaviour:{n}", "kairos:bus:dead-letters:0")
        clients[1].delete("kairos:intake", "kairos:counters:intake")
        before = [spent(client) for client in clients]
        command = [sys.executable, "-c", CHILD, json.dumps(setup), str(events)]
        if profile:
            command = ["py-spy", "record", "--gil", "-r", "500", "-f", "raw", "-o", profile, "--", *command]
        env = {**os.environ, "PYTHONPATH": str(tree)}
        done = subprocess.run(command, cwd=tree, env=env, stdout=subprocess.PIPE, check=True)
        found: dict[str, float] = json.loads(
            next(line for line in done.stdout.splitlines() if line[:1] == b"{")
        )
        used = [spent(client) - at for client, at in zip(clients, before, strict=True)]
        written = sum(clients[0].xlen(f"kairos:bus:behaviour:{n}") for n in range(PARTITIONS))
        if written < events:
            raise SystemExit(f"expected {events} events on the log, found {written}")
        for client in clients:
            client.close()
        return found | {"bus": used[0], "state": used[1]}


def main() -> None:
    """Print medians for each tree, and each as a ratio of the first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", action="append", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--known", action="store_true", help="the state server knows every card")
    parser.add_argument("--profile", help="a file for py-spy's raw samples")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        servers = [start_redis(Path(name) / "bus", durable=True), start_redis(Path(name) / "state")]
        bus = connect(servers[0].url)
        contracts, _ = load_contracts(wanted.tree[0].resolve() / "playbooks" / "grocery")
        bus.ensure(layout(contracts, PARTITIONS))
        lines = basket_lines(wanted.events, wanted.customers)
        for at in range(0, len(lines), 5_000):
            bus.publish(lines[at : at + 5_000])
        state = redis.Redis(port=servers[1].port)
        found: dict[Path, list[dict[str, float]]] = {tree: [] for tree in wanted.tree}
        for turn in range(wanted.runs + wanted.known):
            for tree in wanted.tree:
                if not wanted.known:
                    state.flushall()
                one = run(tree.resolve(), servers, wanted.events, wanted.profile)
                if turn >= wanted.known:
                    found[tree].append(one)
        first: dict[str, float] = {}
        for tree, runs in found.items():
            per = {key: statistics.median(one[key] for one in runs) for key in runs[0]}
            first = first or per
            shown = ", ".join(
                f"{key} {per[key] * 1e6 / wanted.events:.2f} ({per[key] / first[key]:.2f})"
                for key in ("intake", "bus", "state", "wall")
            )
            print(f"{tree}: us an event: {shown}; {per['rss']:.0f} MB")
        bus.close()
        state.close()
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()

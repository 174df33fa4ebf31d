"""`make up`: the stack stays up, answers, stops cleanly on Ctrl-C, and goes on where it stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.test_demo import gone, left_behind


def start(folder: Path) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "kairos", "up"],
        env={**os.environ, "KAIROS_RUN_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        found = re.search(r"API docs\s+(http://\S+)/docs", line)
        if found:
            return process, found[1]
    raise AssertionError(f"no address was printed:\n{seen}")


def ask(address: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        address + path,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def line(number: int) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    data = {
        "line_id": f"1-{number}",
        "bought_at": now,
        "card": "C000001",
        "basket": "1",
        "amount": 2.5,
        "quantity": 1,
        "discount": 0,
        "coupon_discount": 0,
        "department": "GROCERY",
        "category": "CHEESE",
        "store": "1",
    }
    return {
        "specversion": "1.0",
        "type": "basket_line",
        "id": f"1-{number}",
        "source": "till",
        "time": now,
        "data": data,
    }


def sent(campaign: str) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30))
    data = {
        "send_id": "s1",
        "sent_at": now,
        "mailing_id": "M-00001",
        "campaign": campaign,
        "campaign_type": "A",
    }
    return {"specversion": "1.0", "type": "campaign_sent", "id": "s1", "source": "mail", "data": data}


def linked() -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 90))
    ids = {"card": "C000001", "mailing_id": "M-00001", "member_no": "0001-L"}
    data = {"link_id": "l1", "linked_at": now, **ids}
    return {"specversion": "1.0", "type": "household_linked", "id": "l1", "source": "crm", "data": data}


def until_offered(address: str, campaign: str) -> None:
    ends = time.monotonic() + 120
    offered: list[str] = []
    while campaign not in offered:
        assert time.monotonic() < ends, f"expected {campaign} to be offered once it was sent, found {offered}"
        body = {"customer": "card:C000001", "placement": "feed"}
        offered = [offer["offer"] for offer in ask(address, "/v1/decisions", body)["offers"]]
        time.sleep(0.05)


def spent(address: str) -> float:
    customer = ask(address, "/v1/customers/" + urllib.parse.quote("card:C000001", safe=""))
    values = {value["name"]: value for value in customer["values"]}
    counts = [value["value"] for name, value in values.items() if name.endswith("_count_7d")]
    return max((count for count in counts if count is not None), default=0.0)


def until(address: str, lines: float) -> None:
    ends = time.monotonic() + 120
    while spent(address) != lines:
        assert time.monotonic() < ends, (
            f"expected {lines} lines in the customer's row, found {spent(address)}"
        )
        time.sleep(0.05)


@pytest.mark.timeout(900)
def test_up_answers_stops_and_goes_on(tmp_path: Path) -> None:
    process, address = start(tmp_path / "up")
    try:
        assert ask(address, "/health/live")
        ask(address, "/v1/events", linked())
        ask(address, "/v1/events", [line(n) for n in range(3)])
        until(address, 3)
        ask(address, "/v1/events", sent("campaign-18"))
        body = {"customer": "card:C000001", "placement": "feed", "request_id": "r1"}
        until_offered(address, "campaign-18")
        first = ask(address, "/v1/decisions", body)
        assert [offer["offer"] for offer in first["offers"]] == ["campaign-18"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=240)
        assert process.returncode == 0
        assert gone(tmp_path, 5), left_behind(tmp_path)
        process, address = start(tmp_path / "up")
        assert ask(address, "/v1/decisions", body) == first, "a repeat gets the same decision"
        ask(address, "/v1/events", line(3))
        until(address, 4)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=240)

"""A benchmark's figures as a table for a person, or as one JSON object."""

import sys
from collections.abc import Mapping
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

PARTS = {
    "read": "read from the bus",
    "decode": "decode",
    "validate": "validate, know repeats",
    "resolve": "resolve the customer",
    "re-key": "re-key, publish on the log",
    "fetch": "read states from Redis",
    "fold": "fold, triggers",
    "write": "write states to Redis",
    "other": "all else",
}
SERVERS = {"bus_server": "server of the bus", "state_server": "server of the states"}


def show(told: Mapping[str, Any], as_json: bool) -> None:
    """Print what a benchmark told."""
    if as_json:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    pages = {"stream": _stream, "row": _row, "freshness": _freshness, "triggers": _triggers}
    pages[told["bench"]](told, console)
    machine = told["machine"]
    console.print(
        f"\n[dim]revision {told['revision']}, playbook {told['playbook']}, {machine['cores']} cores "
        f"({machine['processor']}), Python {machine['python']}, load {machine['load']} at the end[/]"
    )


def _stream(told: Mapping[str, Any], console: Console) -> None:
    competent, naive = told["competent"], told["naive"]
    console.print(
        f"\n[bold]{told['features']:,} features, {told['customers']:,} customers ({told['keys']}), "
        f"{told['events']:,} events[/], after some {told['history']} events in each one's past\n"
    )
    table = _table("one core does, events/s", "Kairos", "competent", "naive", "vs competent", "vs naive")
    ours = told["events_per_s_per_core"]
    table.add_row(
        *("bus to Redis", _whole(ours), _rate(competent), _rate(naive)),
        *(_times(told["speedup_vs_competent"]), _times(told["speedup_vs_naive"])),
    )
    table.add_row(
        "the fold, from decoded events",
        _whole(told["fold_from_events_per_s_per_core"]),
        *(_whole(each["fold_events_per_s_per_core"]) for each in (competent, naive)),
        *(_times(told["fold_speedup_vs_competent"]), _times(told["fold_speedup_vs_naive"])),
    )
    table.add_row("the fold alone, columns in hand", _whole(told["fold_events_per_s_per_core"]))
    console.print(table)
    table = _table("processor, us an event", "Kairos", "competent", "naive")
    for stage, us in told["cpu_us_per_event"].items():
        theirs = [each["cpu_us_by_stage"].get(stage) for each in (competent, naive)]
        if us or any(theirs):
            table.add_row(PARTS[stage], _us(us), *map(_us, theirs))
    table.add_section()
    by_process = told["cpu_us_per_event_by_process"]
    both = by_process["intake"] + by_process["behaviour"]
    table.add_row("in all", _us(both), *(_us(each["cpu_us_per_event"]) for each in (competent, naive)))
    table.add_row("  of it intake, behaviour", f"{by_process['intake']:,.1f}, {by_process['behaviour']:,.1f}")
    servers = sum(by_process[name] for name in SERVERS)
    theirs = [each["servers_cpu_us_per_event"] for each in (competent, naive)]
    table.add_row("beside it, both servers", _us(servers), *map(_us, theirs))
    console.print()
    console.print(table)
    size, state = told["bytes_per_customer"], told["state_bytes"]
    rows = told["distinct_rows_per_flush"]
    lines = [
        f"{_whole(told['events_per_s'])} events/s from bus to Redis here, all processes beside each other",
        f"{_whole(rows)} different customers in a flush",
        f"{_four(size)} bytes of Redis a customer (p50, p95, p99, largest), of which state {_four(state)}",
        f"{told['restart_s']:.2f} s from the fold's start, after kill -9, until it has folded the next event",
        f"in comparable time competent took {competent['events']:,} events and naive {naive['events']:,}; "
        "they are measured taking them again, their customers known",
    ]
    if told["dead_letters"]:
        lines.append(f"[red]{told['dead_letters']:,} events became dead letters[/]")
    if "second_worker" in told:
        costs = ", ".join(
            f"{count}: {us:,.1f} us" for count, us in told["second_worker"]["cpu_us_per_event"].items()
        )
        lines.append(
            f"an event's processor by folding workers: {costs} ({_rise(told['second_worker']['rise'])})"
        )
    console.print()
    for line in lines:
        console.print(f"- {line}")


def _row(told: Mapping[str, Any], console: Console) -> None:
    console.print(
        f"\n[bold]a row of {told['row_features']:,} features, {told['cross_features']:,} of one offer[/]: "
        "from a state's bytes, at an instant, us of processor\n"
    )
    slate = f"with {told['slate']:,}"
    names = ("state, bytes", "events", "us p50", "p99", "with an offer", slate, "naive p50", "vs naive")
    table = _table("customer", *names)
    for name in ("light", "median", "heavy"):
        each = told[name]
        table.add_row(
            *(name, f"{each['state_bytes']:,}", f"{each['events']:,}"),
            *(f"{each['us']['p50']:,.1f}", f"{each['us']['p99']:,.1f}"),
            *(f"{each[kind]['p50']:,.1f}" for kind in ("with_cross_us", "with_slate_us", "naive_us")),
            _times(each["speedup_vs_naive"]),
        )
    console.print(table)
    console.print(f"\n- the floor, copying such a row: {told['floor_us']['p50']:.2f} us")
    console.print(
        f"- states of {told['customers']:,} customers with {told['history']} events each at the mean; light, "
        "median and heavy are the 5th, 50th and 99th percentile of their bytes"
    )


def _freshness(told: Mapping[str, Any], console: Console) -> None:
    console.print(
        f"\n[bold]{told['events_per_s']:,} events/s of {told['customers']:,} customers, "
        f"{told['features']:,} features[/]: how long until an event counts\n"
    )
    table = _table("ms", "p50", "p99", "events looked for")
    for key, words in (("row", "in the row, read from the store"), ("decision", "in a decision's answer")):
        found = told[f"event_to_{key}_ms"]
        table.add_row(words, f"{found['p50']:,.1f}", f"{found['p99']:,.1f}", f"{told['probes'][key]:,}")
    console.print(table)
    if not told["kept_up"]:
        console.print(
            f"\n[yellow]- {told['wanted_per_s']:,} events/s were asked for; with publisher, reader and "
            f"{told['machine']['cores']} cores for all of it, this machine keeps up with "
            f"{told['events_per_s']:,}[/]"
        )


def _triggers(told: Mapping[str, Any], console: Console) -> None:
    console.print(
        f"\n[bold]{told['triggers']:,} triggers of {told['conditions']:,} conditions, {told['features']:,} "
        f"features[/]: {told['batch']:,} events at once, {told['customers']:,} customers\n"
    )
    every: Mapping[str, Any] = told["by_triggers"]
    table = _table("with so many triggers", *every)
    for key, words in (
        ("events_per_s_per_core", "fold and conditions, events/s a core"),
        ("stage_events_per_s_per_core", "the whole stage, events/s a core"),
    ):
        table.add_row(words, *(_whole(each[key]) for each in every.values()))
    table.add_section()
    for part in next(iter(every.values()))["cpu_us_per_event"]:
        table.add_row(
            f"{part}, us an event", *(_us(each["cpu_us_per_event"][part]) for each in every.values())
        )
    table.add_row("messages an event", *(f"{each['fired_per_event']:.3f}" for each in every.values()))
    console.print(table)
    found = told["event_to_trigger_ms"]
    floor, naive = told["floor_us_per_event"], told["naive_us_per_event"]
    console.print(
        f"\n- all triggers cost {_us(told['cost_ratio'])} times the fold with none (floor {_us(floor)} us), "
        f"the stage {_us(told['stage_cost_ratio'])} times"
    )
    console.print(f"- naive, conditions alone, rows in hand: {_us(naive)} us an event")
    console.print(
        f"- from an event to its trigger at {told['latency_events_per_s']:,} events/s: p50 "
        f"{found['p50']:,.1f} ms, p99 {found['p99']:,.1f} ms ({told['probes']:,} looked for)"
    )


def _table(first: str, *rest: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, min_width=32)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _rate(each: Mapping[str, Any]) -> str:
    return _whole(each["events_per_s_per_core"])


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} x"


def _four(found: Mapping[str, float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in found.values()) or "-"


def _rise(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.0f} %"

"""What happened to a trigger at a moment, in words for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from events.codec import render_time, shown
from features.trigger import Trigger
from kairos.trigger_history import Moment


def said(trigger: Trigger, moment: Moment) -> str:
    """What happened, in words."""
    read = _values(moment.values)
    until = "" if moment.until is None else render_time(moment.until)
    fired = moment.fired
    match moment.verdict:
        case "fired":
            assert fired is not None
            return f"FIRED {fired.instance}: {_values(fired.payload) or 'no payload'}"
        case "not true" if moment.nth is not None:
            of = "" if trigger.each is None else f" of this {trigger.each}"
            return f"not true: number {moment.nth:,}{of}, it fires at number {trigger.nth}{_if(read)}"
        case "not true" | "not in the audience":
            return f"{moment.verdict}: {moment.clause or 'its condition'}{_if(read)}"
        case "true before":
            return f"true before, and not false in between{_if(read)}"
        case "wait began":
            assert trigger.unless is not None
            return f"wait began: fires at {until} unless {_step(trigger)} comes{_if(read)}"
        case "wait ended":
            return f"wait ended: this is what it waited for, in time (until {until})"
        case "still waiting":
            return f"still waiting at the end of the log: it ends once that is read up to {until}"
        case "cooldown":
            return f"would have fired, but for its cooldown until {until}{_if(read)}"
        case "outside its dates":
            return f"would have fired, but outside its dates{_if(read)}"
        case "nothing before it":
            assert trigger.after is not None
            return f"no {trigger.after.event}{_same(trigger.after.same)} before it in time{_if(read)}"
        case "answered already":
            return f"no wait: {_step(trigger)} was read before{_if(read)}"
        case "first half":
            return f"remembered: the first event of the sequence, good until {until}"
        case "superseded":
            assert fired is not None
            return (
                f"superseded: read too late to keep {fired.instance} of {render_time(fired.time)} from firing"
            )
        case "given up":
            return (
                f"given up: too many waits at once (wakes in playbook.toml); it would have ended at {until}"
            )
        case "repeat":
            return "a repeat of an event that was read before: nothing"
        case "too late":
            return "older than the playbook's lateness when it was read: nothing"
    return moment.verdict


def _step(trigger: Trigger) -> str:
    assert trigger.unless is not None
    return f"{trigger.unless.event}{_same(trigger.unless.same)}"


def _same(fields: Sequence[str]) -> str:
    return f" of the same {' and '.join(fields)}" if fields else ""


def _if(read: str) -> str:
    return f"  ({read})" if read else ""


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,.6g}" if isinstance(value, int | float) else shown(value, 40)

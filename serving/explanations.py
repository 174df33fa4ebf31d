"""What people read of a decision and of a customer: the record and the row, in words and plain values."""

import math
from typing import Any

import orjson

from events.codec import render_time
from features.attributes import explain_attributes
from features.full_row import behaviour_values
from features.plan import Plan
from models.catalogue import Catalogue
from models.explanation import why
from models.record import unpack
from serving.decider import Known


def decision_view(record: bytes, catalogue: Catalogue) -> bytes:
    """Tell why this and why not that, as JSON, from a packed record."""
    told = why(unpack(record), catalogue)
    told["at"] = render_time(told["at"])
    return orjson.dumps(told)


def customer_view(reference: str, known: Known, plan: Plan) -> bytes:
    """Tell each value of a customer with its age, as JSON.

    `age_ms` is how far behind our reading is; of an attribute, how long its row has been known.
    """
    everybody = None if known.seen is None else known.seen.everybody
    values: list[dict[str, Any]] = [
        {
            "name": value.name,
            "value": _plain(value.value),
            "status": value.status,
            "age_ms": value.age_ms,
            "unit": value.unit,
            "meaning": value.meaning,
        }
        for value in known.mask.on_values(
            behaviour_values(plan, known.state, known.at, known.watermark, everybody), known.at
        )
    ]
    values += [
        {
            "name": each.feature.name,
            "value": _plain(each.value),
            "status": each.status,
            "age_ms": each.age_ms,
            "unit": each.feature.unit,
            "meaning": each.feature.meaning,
        }
        | ({} if each.text is None else {"category": each.text})
        for each in explain_attributes(plan, known.attributes, known.at)
    ]
    told: dict[str, Any] = {
        "customer": known.customer,
        "reference": reference,
        "unknown_customer": known.state is None,
        "at": render_time(known.at),
        "read_up_to": None if known.watermark is None else render_time(known.watermark),
        "newest_event": None if known.state is None else render_time(known.state.newest),
        "plan": plan.digest,
        "values": values,
    }
    return orjson.dumps(told)


def _plain(value: Any) -> Any:
    """JSON has no NaN: a value that is missing is null.

    >>> _plain(float("nan")) is None
    True
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

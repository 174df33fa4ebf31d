"""`bench row`: from a state's bytes to a row of a thousand features at an instant."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from features.fold import State, decode
from features.offer_keys import OfferKeys, offer_keys
from features.plan import Plan, compile_plan
from features.row import cross, row
from features.trigger_features import fired_features
from kairos.bench.contenders.competent import Competent
from kairos.bench.contenders.plain_row import PlainRow, packed
from kairos.bench.contenders.questions import Questions
from kairos.bench.cut import cut, visible
from kairos.bench.measure import machine, ratio, revision, spread
from kairos.bench.population import Past
from models.catalogue import key_of
from models.declared import read as read_offers

AT_MS: Final = 1_700_000_000_000
WEIGHTS: Final = {"light": 5, "median": 50, "heavy": 99}
"""Which percentile of the bytes of a state a customer stands at."""

NEAR: Final = 20
"""So many customers around the percentile are read in turn: one row repeated stays in the cache."""

SLATE: Final = 100
"""So many of the playbook's offers are read at once."""

Say = Callable[[str], None]


class Sizes(NamedTuple):
    """How large the benchmark is: customers that are folded, events each at the mean, rows timed."""

    features: int = 1_000
    customers: int = 2_000
    history: int = 30
    rows: int = 2_000


def run(folder: Path, sizes: Sizes, say: Say) -> dict[str, Any]:
    """Measure it; errors: `PlaybookRefused`."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as place:
        playbook = cut(folder, sizes.features, Path(place) / "playbook")
        plan = compile_plan(playbook)
        say(f"{visible(playbook):,} features, {sizes.customers:,} customers: folding their past")
        past = Past(plan, sizes.customers, sizes.history, AT_MS, pasts=sizes.customers)
        ordered = sorted(range(len(past.states)), key=lambda n: len(past.states[n][0]))
        questions = Questions(playbook)
        plain = PlainRow(questions)
        slate = _slate(folder, plan)
        one = slate.of(np.zeros(min(1, slate.offers), dtype=np.intp))
        told: dict[str, Any] = {}
        for name, percentile in WEIGHTS.items():
            middle = round((len(ordered) - 1) * percentile / 100)
            low = max(0, min(middle - NEAR // 2, len(ordered) - NEAR))
            chosen = ordered[low : low + NEAR]
            blobs = [past.states[n][0] for n in chosen]
            theirs = [packed(_competent(questions, past.told[n])) for n in chosen]
            say(f"{name}: states of {len(past.states[ordered[middle]][0]):,} bytes")
            ours = _us(lambda blob: row(plan, decode(plan, blob), AT_MS, AT_MS), blobs, sizes.rows)
            both = _us(lambda blob: _with_cross(plan, decode(plan, blob), one), blobs, sizes.rows)
            many = _us(lambda blob: _with_cross(plan, decode(plan, blob), slate), blobs, sizes.rows)
            naive = _us(lambda blob: plain.read(blob, AT_MS), theirs, max(NEAR, sizes.rows // 20))
            told[name] = {
                "state_bytes": len(past.states[ordered[middle]][0]),
                "events": len(past.told[ordered[middle]]),
                "us": spread(ours, 2),
                "with_cross_us": spread(both, 2),
                "with_slate_us": spread(many, 2),
                "naive_us": spread(naive, 2),
                "speedup_vs_naive": ratio(float(np.median(naive)), float(np.median(ours))),
            }
        filled = row(plan, decode(plan, blobs[0]), AT_MS, AT_MS)
        added = len(fired_features(playbook.triggers, 0))  # what every trigger adds to the row
        out = np.empty_like(filled)
        floor = _us(lambda each: np.copyto(out, each), [filled], sizes.rows)
        return {
            "bench": "row",
            "revision": revision(),
            "machine": machine(),
            "playbook": playbook.name,
            **sizes._asdict(),
            "features": visible(playbook),
            "row_features": len(filled) - added,
            "trigger_features": added,
            "cross_features": len(plan.cross_features),
            "slate": slate.offers,
            **told,
            "floor_us": spread(floor, 2),
            "row_us": told["median"]["us"]["p50"],
        }


def _competent(questions: Questions, raw: Sequence[bytes]) -> Any:
    engine = Competent(questions)
    engine.fold([event for each in raw if (event := questions.decode(each)) is not None])
    return next(iter(engine.customers.values()))


def _slate(folder: Path, plan: Plan) -> OfferKeys:
    """The keys of the playbook's first offers, laid out as serving keeps them."""
    offers = read_offers(folder, None, []).offers[:SLATE]
    matches = plan.tables.matches
    return offer_keys(
        matches, {each: [key_of(offer, each) for offer in offers] for each in matches}, len(offers)
    )


def _with_cross(plan: Plan, state: State, keys: OfferKeys) -> None:
    row(plan, state, AT_MS, AT_MS)
    cross(plan, state, AT_MS, keys, AT_MS)


def _us(read: Callable[[Any], object], given: Sequence[Any], times: int) -> list[float]:
    """Microseconds of processor of each of so many readings, the given in turn, behind some that warm up."""
    took = []
    for n in range(-len(given), times):
        each = given[n % len(given)]
        began = time.thread_time_ns()
        read(each)
        took.append((time.thread_time_ns() - began) / 1_000)
    return took[len(given) :]

"""The whole experiment: every arm, every delay and every seed, and the numbers that come of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from experiments.bootstrap import draws, interval, ratio
from experiments.world.needs import DAY, HOUR, KINDS, MARGIN, MINUTE, Floats
from experiments.world.policy import CARD
from kairos.simulate.arms import ARMS, SECOND, Lived, Setting

DELAYS: Final = {"1 s": SECOND, "1 min": MINUTE, "15 min": 15 * MINUTE, "1 h": HOUR, "1 day": DAY}
SLOW: Final = 24.0
"""In the other world, which the picture shows beside, needs last so many times as long."""

REPLICATES: Final = 1_000
WINDOW: Final = 3
"""Days over which it is judged whether a newcomer is shown as an old offer would be."""

Live = Callable[[Setting, str, int, int], Lived]


def compare(setting: Setting, arms: Sequence[str], seeds: Sequence[int], live: Live) -> dict[str, Any]:
    """What each arm captures, EUR a week a customer over silence, with everything that goes with it."""
    lived = {arm: [live(setting, arm, seed, SECOND) for seed in seeds] for arm in arms}
    oracle = lived.get("oracle")
    told = {arm: _arm(setting, runs, oracle, lived.get("silence")) for arm, runs in lived.items()}
    return {"arms": told, "newcomers": _newcomers(setting, lived)}


def delayed(
    setting: Setting, seeds: Sequence[int], live: Live, delays: Mapping[str, int] = DELAYS
) -> dict[str, Any]:
    """What ours captures as it sees the world later and later; shares are of what the first delay captures.

    Counted from the middle of the run on, when the models have learned what they can: so the difference is
    what the delay costs, not what learning does.
    """
    half = setting.days // 2
    runs = {name: [live(setting, "ours", seed, delay) for seed in seeds] for name, delay in delays.items()}
    sums = {
        name: np.concatenate([run.tally.gain[:, half:].sum(axis=1) for run in some])
        for name, some in runs.items()
    }
    first = next(iter(sums.values()))
    weights = draws(len(first), REPLICATES, seed=1)
    weeks = (setting.days - half) / 7
    told: dict[str, Any] = {}
    by_seed = {
        name: [float(run.tally.gain[:, half:].sum() / len(run.tally.gain) / weeks) for run in some]
        for name, some in runs.items()
    }
    at_once = next(iter(by_seed.values()))
    for name, mine in sums.items():
        ones = np.full(len(mine), weeks)
        told[name] = {
            "delay_ms": delays[name],
            "gain": float(mine.sum() / ones.sum()),
            "gain_ci": interval(ratio(mine, ones, weights)),
            "share": float(mine.sum() / first.sum()) if first.sum() > 0 else None,
            "share_ci": interval(ratio(mine, first, weights)),
            "by_seed": by_seed[name],
            "share_by_seed": [
                late / soon if soon > 0 else None for late, soon in zip(by_seed[name], at_once, strict=True)
            ],
            "by_need": _by_need(runs[name], half, len(first) * weeks),
            "by_need_by_seed": [_by_need([run], half, len(run.tally.gain) * weeks) for run in runs[name]],
        }
    return {"from_day": half, "pace": setting.effects.pace, "delays": told}


def about(setting: Setting, seeds: Sequence[int]) -> dict[str, Any]:
    """What was simulated."""
    return {
        "playbook": setting.plan.playbook.name,
        "customers": setting.customers,
        "days": setting.days,
        "seeds": list(seeds),
        "customer_days": setting.customers * setting.days * len(seeds),
        "effects": asdict(setting.effects),
        "needs": [
            {
                "name": k.name,
                "half_life_h": k.half_life * setting.effects.pace / HOUR,
                "share": k.share,
                "price": k.price,
                "margin": MARGIN,
            }
            for k in KINDS
        ],
    }


def _arm(
    setting: Setting, runs: Sequence[Lived], oracle: Sequence[Lived] | None, silence: Sequence[Lived] | None
) -> dict[str, Any]:
    gain = np.concatenate([run.tally.gain.sum(axis=1) for run in runs])
    weeks = np.full(len(gain), setting.days / 7)
    weights = draws(len(gain), REPLICATES, seed=1)
    people, total = len(gain), float(weeks.sum())
    told: dict[str, Any] = {
        "name": ARMS[runs[0].arm],
        "gain": float(gain.sum() / weeks.sum()),
        "gain_ci": interval(ratio(gain, weeks, weights)),
        "by_seed": [float(run.tally.gain.sum() / len(run.tally.gain) / setting.days * 7) for run in runs],
        "by_day": (sum(run.tally.gain.sum(axis=0) for run in runs) / people).tolist(),
        "by_need": _by_need(runs, 0, float(weeks.sum())),
        "regret_a_moment": _regret(runs),
        "cards": sum(run.tally.cards for run in runs) / total,
        "messages": sum(run.tally.pushes for run in runs) / total,
        "taken": sum(run.tally.taken for run in runs) / total,
        "put_off": sum(run.tally.put_off for run in runs) / total,
        "opted_out": sum(run.tally.opted_out for run in runs) / people,
        "given_away": sum(run.tally.given_away for run in runs) / total,
        "events": sum(run.tally.events for run in runs),
        "conflicts": sum(run.conflicts for run in runs),
    }
    if oracle is not None:
        best = np.concatenate([run.tally.gain.sum(axis=1) for run in oracle])
        told["regret"] = float((best - gain).sum() / weeks.sum())
        told["regret_ci"] = interval(ratio(best - gain, weeks, weights))
        told["of_oracle"] = float(gain.sum() / best.sum()) if best.sum() > 0 else None
    if silence is not None:
        base = np.concatenate([run.tally.margin for run in silence])
        booked = np.concatenate([run.tally.margin for run in runs]) - base
        told["booked"] = float(booked.sum() / weeks.sum())
        told["booked_ci"] = interval(ratio(booked, weeks, weights))
    return told


def _regret(runs: Sequence[Lived]) -> float | None:
    """The part of the best possible gain of its own moments that an arm missed."""
    best = sum(float(run.tally.best.sum()) for run in runs)
    return 1 - sum(float(run.tally.gain.sum()) for run in runs) / best if best > 0 else None


def _by_need(runs: Sequence[Lived], since: int, per: float) -> dict[str, float]:
    sums = np.sum([run.tally.kinds[:, since:].sum(axis=1) for run in runs], axis=0)
    return {kind.name: float(sums[number] / per) for number, kind in enumerate(KINDS)}


def _newcomers(setting: Setting, lived: Mapping[str, Sequence[Lived]]) -> list[dict[str, Any]]:
    """For each offer that appears on the way: after how many days an arm shows it as readily as old ones."""
    kinds = {offer.id: setting.deals[offer.id].kind for offer in setting.catalogue.assortment(CARD).offers}
    told = []
    for offer, day in setting.newcomers().items():
        if [kinds[other] for other in kinds].count(kinds[offer]) > 1:
            continue  # there was something of the kind to offer before: it does not start cold
        arms = {}
        for arm, runs in lived.items():
            called = np.sum([run.called for run in runs], axis=0)
            heeded = np.sum([run.heeded for run in runs], axis=0)
            arms[arm] = {"name": ARMS[arm], **cold_start(called, heeded, kinds[offer], day)}
        told.append({"offer": offer, "from_day": day, "watched": setting.days - day, "arms": arms})
    return told


def cold_start(called: Floats, heeded: Floats, kind: int, day: int) -> dict[str, Any]:
    """How often the newcomer was made where it was truly best, against how often old offers were.

    `days` is after how many days, over `WINDOW` days, half of the old offers' rate was reached; None: not
    within the days that are left.
    """
    old = np.arange(len(called)) != kind
    usual = _part(heeded[old, day:].sum(), called[old, day:].sum())
    new = [
        _part(heeded[kind, d : d + WINDOW].sum(), called[kind, d : d + WINDOW].sum())
        for d in range(day, called.shape[1] - WINDOW + 1)
    ]
    reached = [n for n, rate in enumerate(new) if usual and rate is not None and rate >= usual / 2]
    return {"days": reached[0] if reached else None, "old": usual, "new": new}


def _part(some: float, every: float) -> float | None:
    return float(some / every) if every else None

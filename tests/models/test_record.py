import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalogue import Catalogue
from models.decision import Decision, Request, decide
from models.eligibility import Indices
from models.explanation import why
from models.record import DecisionRecord, pack, rerun, unpack
from models.scorer import Floats
from models.scorers.blend import Blend
from models.scorers.prior import Prior
from tests.models import cafe
from tests.models.test_decision import Fixed

BOTH = Blend(
    prior=Prior(0.1),
    online=Fixed("river", [0.2, 0.1, 0.3, 0.4]),
    batch=Fixed("lightgbm", [0.1, 0.2, 0.3, 0.1]),
)


def kept(decision: Decision) -> DecisionRecord:
    return unpack(pack(decision))


def test_a_record_says_what_the_decision_was(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue, scorers=BOTH)
    record = kept(decision)
    assert record.offers == [chosen.offer for chosen in decision.chosen]
    assert record.probabilities == pytest.approx([chosen.probability for chosen in decision.chosen])
    assert record.places().tolist() == decision.eligibility.offers.tolist()
    np.testing.assert_array_equal(record.features(), cafe.ROW)
    np.testing.assert_array_equal(record.customer_part(), decision.matrix.customer)
    np.testing.assert_array_equal(record.cross_part(), decision.eligibility.cross)
    np.testing.assert_array_equal(record.shown(), decision.matrix.offers[list(decision.slate.order)])
    assert set(record.scores) == {"river", "lightgbm", "blend"}
    np.testing.assert_allclose(record.scores["blend"], record.probabilities)
    np.testing.assert_allclose(record.every_score()["river"], [0.2, 0.1, 0.3, 0.4], rtol=1e-6)
    assert record.refused("expired").tolist() == [False, False, True, False, False]


@given(seed=st.integers(0, 2**64 - 1), placement=st.sampled_from(["board", "whisper"]))
def test_a_record_draws_its_slate_again(
    tmp_path_factory: pytest.TempPathFactory, seed: int, placement: str
) -> None:
    decision = cafe.asked(_catalogue(tmp_path_factory), placement, scorers=BOTH, seed=seed)
    record = kept(decision)
    order, propensities = rerun(record)
    assert (order, propensities) == (record.order, record.propensities)
    assert msgspec.msgpack.encode((order, propensities)) == msgspec.msgpack.encode(
        (list(decision.slate.order), list(decision.slate.probabilities))
    )


_made: dict[str, Catalogue] = {}


def _catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    if "cafe" not in _made:
        _made["cafe"] = cafe.opened(tmp_path_factory.mktemp("cafe"))[1]
    return _made["cafe"]


def test_a_thousand_features_and_a_hundred_offers_fit_in_8_kb(tmp_path: Path) -> None:
    """980 customer features, 12 of each pair and 8 attributes, all random; every rule refuses somebody."""
    random = np.random.default_rng(7)
    catalogue = _large(tmp_path, random)
    shop = catalogue.assortment("board")
    row = random.normal(size=980).astype(np.float32)
    departments = random.normal(size=(20, 8)).astype(np.float32)

    def cross_for(offers: Indices) -> Floats:
        keyed = departments[[int(shop.offers[n].attributes["kind"][1:]) for n in offers]]
        return np.concatenate([keyed, random.normal(size=(len(offers), 4)).astype(np.float32)], axis=1)

    both = Blend(
        prior=Prior(0.1),
        online=Fixed("river", random.random(400).tolist()),
        batch=Fixed("lightgbm", random.random(400).tolist()),
    )
    request = Request(request_id="0123456789abcdef", customer=cafe.CUSTOMER, context={"weather": "hot"})
    decision = decide(request, "board", catalogue, row, cross_for, both, cafe.NOON)
    assert len(decision.eligibility.offers) == 100
    assert len(decision.chosen) == 10
    packed = pack(decision)
    assert len(packed) <= 8 * 1024, len(packed)
    sparse = replace(decision, row=np.where(random.random(980) < 0.7, 0, row).astype(np.float32))
    assert len(pack(sparse)) <= 6 * 1024
    record = unpack(packed)
    np.testing.assert_array_equal(record.cross_part(), decision.eligibility.cross)
    np.testing.assert_array_equal(record.shown(), decision.matrix.offers[list(decision.slate.order)])


def _large(folder: Path, random: np.random.Generator) -> Catalogue:
    """A catalogue of 400 offers of which 100 can be made, against a plan of 980 + 12 features."""
    from models.assortment import Assortment
    from models.scorer import Columns

    offers = ["\n".join(cafe.OFFERS.split("\n[[offer]]")[:1]).replace("limit = 3", "limit = 10")]
    for n in range(400):
        dates = "valid_to = 2020-01-01T00:00:00Z" if n % 4 else ""
        numbers = ", ".join(f"n{k} = {random.random():.4f}" for k in range(7))
        offers.append(
            f'[[offer]]\nid = "offer-{n:03d}"\ngroup = "drinks"\n{dates}\n'
            f'attributes = {{ kind = "k{n % 20:02d}", strength = 1, {numbers} }}\n'
        )
    small = cafe.opened(folder, "\n".join(offers))[1]
    shop = small.assortment("board")
    cross = [f"cross_{n}" for n in range(12)]
    rules = replace(shop.rules, rules=shop.rules.rules[:1], customer={}, cross={})
    wide = Assortment(
        **{
            **{name: getattr(shop, name) for name in Assortment.__slots__},
            "columns": Columns(tuple(f"feature_{n}" for n in range(982)), (*cross, *shop.columns.offers[2:])),
            "features": 980,
            "families": {"kind": tuple(range(8)), "offer": tuple(range(8, 12))},
            "rules": rules,
        }
    )
    return replace(small, assortments={"board": wide})


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\x93\x01\x02\x03")
    with pytest.raises(msgspec.DecodeError):
        unpack(b"not a record")


def test_why_this_and_why_not_that(catalogue: Catalogue) -> None:
    decision = cafe.asked(
        catalogue, scorers=BOTH, context={"weather": "hot"}, row=np.array([1, 5], dtype=np.float32)
    )
    told = why(kept(decision), catalogue)
    assert json.loads(json.dumps(told)) == told
    assert {refused["offer"]: [rule["rule"] for rule in refused["rules"]] for refused in told["refused"]} == {
        "espresso": ["regulars"],
        "mate": ["expired"],
        "oolong": ["hot_weather"],
        "sencha": ["hot_weather"],
    }
    assert told["refused"][0]["rules"][0]["reason"] == "The strongest drinks are for regulars."
    (latte,) = told["offers"]
    assert (latte["offer"], latte["position"], latte["propensity"]) == ("latte", 1, 1.0)
    assert set(latte["scores"]) == {"river", "lightgbm", "blend"}
    assert latte["why"].startswith("Drawn at position 1")


def test_why_tells_those_who_lost(catalogue: Catalogue) -> None:
    told = why(kept(cafe.asked(catalogue, limit=1)), catalogue)
    assert sorted(offer["position"] or 0 for offer in told["offers"]) == [0, 0, 0, 1]
    assert sum(offer["chance_at_first_position"] for offer in told["offers"]) == pytest.approx(1.0)
    silent = next(
        decision
        for decision in (cafe.asked(catalogue, "whisper", request_id=f"r{n}") for n in range(300))
        if decision.slate.silent
    )
    told = why(kept(silent), catalogue)
    assert told["silent"]
    assert told["chance_of_silence"] == pytest.approx(told["probability_of_slate"])
    assert "silence was drawn" in told["offers"][0]["why"]


def test_why_after_the_catalogue_changed_names_the_slate_only(catalogue: Catalogue, tmp_path: Path) -> None:
    record = kept(cafe.asked(catalogue))
    _, other = cafe.opened(tmp_path / "other", cafe.OFFERS.replace("value = 2.0", "value = 3.0"))
    told = why(record, other)
    assert sorted(offer["offer"] for offer in told["offers"]) == sorted(record.offers)
    assert told["refused"] == []
    assert told["refusals"] == {"expired": 1}
    assert "only the offers of the slate can be named" in told["note"]

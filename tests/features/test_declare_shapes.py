"""What declarations expand to: families of every kind, shares, trends, ratios, distinct; hidden features."""

import math

import pytest

from events.faults import PlaybookRefused
from features.declare import Feature, Playbook, features_of, load
from features.feature import expand, total_of
from features.memory import MEMORY, memory_of, memory_of_customer
from features.plan import compile_plan
from tests.features.test_declare import GROCERY
from tests.features.workshop import DAY, playbook

EVENTS = """
[sale]
topic = "shop"
id = "no"
time = "at"
customer = { card = "card" }

[sale.fields]
amount = "decimal"
pieces = "integer"
kind = "category"
label = "category?"
offer = "category?"
note = "text?"
"""

SPEND = """
[[aggregate]]
name = "spend"
event = "sale"
value = "amount"
functions = ["mean"]
windows = ["7d", "28d", "84d"]
trends = [["7d", "28d"], ["28d", "84d"]]
unit = "USD"
meaning = "spent"
default = { mean = 0, trend = 1 }
"""

SHARE = """
[[aggregate]]
name = "by_label"
event = "sale"
value = "amount"
where = "amount > 0 || pieces > 3"
by = "label"
match = "label"
functions = ["count", "share"]
windows = ["28d"]
ever = true
keys = 40
unit = "USD"
meaning = "spent on the label"
default = { share = 0 }
freshness = "3d"
"""


def aggregate(name: str, *lines: str, functions: str = '["count"]', windows: str = '["7d"]') -> str:
    more = "\n".join(lines)
    return f"""
[[aggregate]]
name = "{name}"
event = "sale"
functions = {functions}
windows = {windows}
unit = "u"
meaning = "m"
{more}
"""


def ratio(name: str, numerator: str, denominator: str, *lines: str) -> str:
    more = "\n".join(lines)
    return f"""
[[ratio]]
name = "{name}"
numerator = "{numerator}"
denominator = "{denominator}"
unit = "u"
meaning = "m"
{more}
"""


def declared(text: str) -> Playbook:
    return load(playbook(text, events=EVENTS))


def faults(text: str) -> str:
    with pytest.raises(PlaybookRefused) as caught:
        declared(text)
    return "\n".join(map(str, caught.value.faults))


def rows(text: str) -> tuple[dict[str, Feature], dict[str, Feature]]:
    row, cross = features_of(declared(text))
    return {f.name: f for f in row}, {f.name: f for f in cross}


def test_a_trend_divides_two_sums_that_are_hidden_unless_declared() -> None:
    row, cross = rows(SPEND)
    assert not cross
    assert list(row) == [
        *("spend_mean_7d", "spend_mean_28d", "spend_mean_84d", "spend_trend_7d_28d", "spend_trend_28d_84d"),
        *("spend_sum_7d", "spend_sum_28d", "spend_sum_84d"),
    ]
    assert [feature.hidden for feature in row.values()] == [False] * 5 + [True] * 3
    trend = row["spend_trend_7d_28d"]
    assert trend.derived == ("spend_sum_7d", "spend_sum_28d", 4.0)
    assert (trend.unit, trend.default, trend.function) == ("times", 1.0, "trend")
    assert row["spend_sum_7d"].default == 0.0
    (spend,) = declared(SPEND).aggregates
    assert spend.functions == ("mean", "sum")
    assert spend.declared == ("mean",)
    assert spend.trends == ((7 * DAY, 28 * DAY), (28 * DAY, 84 * DAY))


def test_a_trend_without_a_value_divides_counts() -> None:
    row, _ = rows(aggregate("sales", 'trends = [["7d", "28d"]]', windows='["7d", "28d"]'))
    assert row["sales_trend_7d_28d"].derived == ("sales_count_7d", "sales_count_28d", 4.0)
    assert not any(feature.hidden for feature in row.values())
    assert math.isnan(row["sales_trend_7d_28d"].default)


def test_a_share_divides_by_a_total_of_its_own() -> None:
    row, cross = rows(SHARE)
    assert list(cross) == [
        *("by_label_count_28d", "by_label_count_ever", "by_label_share_28d", "by_label_share_ever"),
        *("by_label_sum_28d", "by_label_sum_ever"),
    ]
    assert list(row) == ["by_label_total_sum_28d", "by_label_total_sum_ever"]
    assert all(feature.hidden for feature in row.values())
    share = cross["by_label_share_28d"]
    assert share.derived == ("by_label_sum_28d", "by_label_total_sum_28d", 1.0)
    assert (share.unit, share.default, share.match, share.freshness_ms) == ("share", 0.0, "label", 3 * DAY)
    family, total = declared(SHARE).aggregates
    assert (family.functions, family.keys) == (("count", "sum"), 40)
    assert (total.name, total.functions, total.declared) == ("by_label_total", ("sum",), ())
    assert (total.by, total.match, total.of, total.keys) == (None, None, "customer", 1)
    # What the family does not count, as its key is missing, is not in the whole either.
    assert total.where == "(amount > 0 || pieces > 3) && !is_missing(label)"


def test_a_share_without_a_value_is_of_counts_and_a_share_of_everybody_has_a_global_total() -> None:
    family, total = declared(
        aggregate("of_kind", 'by = "kind"', 'match = "kind"', functions='["share"]')
    ).aggregates
    assert total.where is None
    group = family._replace(of="offer_group")
    (share,) = expand(group)
    assert (share.of, share.derived) == ("offer_group", ("of_kind_count_7d", "of_kind_total_count_7d", 1.0))
    assert total_of(group, None) == total._replace(of="global")


@pytest.mark.parametrize(
    ("lines", "of", "by", "match", "crossed"),
    [
        ((), "customer", None, None, False),
        (('of = "customer"', 'by = "kind"', 'match = "k"'), "customer", "kind", "k", True),
        (('of = ["customer", "offer"]', 'by = "offer"'), "pair", "offer", "offer", True),
    ],
)
def test_whose_events_are_counted(
    lines: tuple[str, ...], of: str, by: str | None, match: str | None, crossed: bool
) -> None:
    (one,) = declared(aggregate("n", *lines)).aggregates
    assert (one.of, one.by, one.match, one.keys) == (of, by, match, 128 if by else 1)
    row, cross = rows(aggregate("n", *lines))
    (feature,) = (cross if crossed else row).values()
    assert (feature.of, feature.match) == (of, match)


@pytest.mark.parametrize("value", ["kind", "pieces", "note"])
def test_distinct_counts_values_of_a_field(value: str) -> None:
    text = aggregate("kinds", f'value = "{value}"', "ever = true", functions='["distinct"]')
    row, _ = rows(text)
    assert list(row) == ["kinds_distinct_7d", "kinds_distinct_ever"]
    assert row["kinds_distinct_7d"].default == 0.0
    (one,) = declared(text).aggregates
    assert one.keys == 256
    assert memory_of(one) == 16 + 256 * 14


def test_percentiles_are_functions_of_a_value_over_windows_and_ever() -> None:
    lines = ('value = "amount"', "ever = true", "default = { p95 = 0 }")
    text = aggregate("basket", *lines, functions='["p1", "p2", "p13", "p95"]', windows='["365d"]')
    row, cross = rows(text + ratio("far", "basket_p95_365d", "basket_p2_ever"))
    assert not cross
    assert [*row][:3] == ["basket_p1_365d", "basket_p1_ever", "basket_p2_365d"]
    assert row["basket_p95_365d"].default == 0.0
    assert math.isnan(row["basket_p13_ever"].default)
    words = [row[f"basket_{name}"].meaning.split(":")[0] for name in ("p1_365d", "p2_ever", "p13_365d")]
    assert words == ["1st percentile over 365d", "2nd percentile of all time", "13th percentile over 365d"]
    (one,) = declared(text).aggregates
    assert one.histogram
    assert one.keys == 160
    assert memory_of(one) == 160 * (24 + 4 + 9 * 120)


def test_a_ratio_divides_two_features_and_is_as_fresh_as_the_staler_allows() -> None:
    text = SPEND + SHARE + ratio("r", "spend_sum_7d", "spend_mean_28d", 'freshness = "1d"', "default = 0")
    text += ratio("q", "by_label_sum_28d", "spend_sum_28d") + ratio(
        "own", "by_label_sum_28d", "by_label_count_28d"
    )
    row, cross = rows(text)
    assert row["r"].derived == ("spend_sum_7d", "spend_mean_28d", 1.0)
    assert (row["r"].freshness_ms, row["r"].default, row["r"].match) == (DAY, 0.0, None)
    assert cross["q"].freshness_ms == 2 * DAY
    assert (cross["q"].match, cross["own"].match) == ("label", "label")
    assert math.isnan(cross["q"].default)
    shown = [feature.name for feature in cross.values() if not feature.hidden]
    assert shown[-2:] == ["q", "own"]


PAIR = 'of = ["customer", "offer"]'
TWO = SPEND + SHARE + aggregate("of_kind", 'by = "kind"', 'match = "kind"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO + ratio("r", "spend_smu_7d", "spend_sum_28d"), "did you mean spend_sum_7d?"),
        (TWO + ratio("r", "r", "spend_sum_28d"), "expected a stored feature, found r, this ratio itself"),
        (TWO + ratio("r", "q", "spend_sum_7d") + ratio("q", "r", "spend_sum_7d"), "found q, a ratio"),
        (TWO + ratio("r", "spend_trend_7d_28d", "spend_sum_7d"), "found spend_trend_7d_28d, a trend"),
        (TWO + ratio("r", "by_label_share_28d", "spend_sum_7d"), "found by_label_share_28d, a share"),
        (TWO + ratio("r", "by_label_count_28d", "of_kind_count_7d"), "whose key is picked by kind"),
        (TWO + ratio("r", "spend_sum_7d", "of_kind_count_7d"), "a feature of the customer's row"),
        (TWO + ratio("r", "spend_sum_7d", "spend_sum_28d", "windows = 3"), "expected a known key"),
        (SPEND.replace('["7d", "28d"], ', '["7d", "29d"], '), "found 29d; did you mean 28d?"),
        (SPEND.replace('["7d", "28d"], ', '["28d", "7d"], '), "found 28d and 7d"),
        (SPEND.replace('[["7d", "28d"], ["28d", "84d"]]', '["7d", "28d"]'), "a list of pairs of lengths"),
        (SPEND.replace('[["7d", "28d"], ["28d", "84d"]]', '[["7 d", "28d"]]'), "found '7 d'"),
        (aggregate("n", functions='["share"]'), "by: expected the field that keys the family"),
        (
            aggregate(
                "n", 'by = "kind"', 'match = "k"', 'half_lives = ["7d"]', functions='["share"]'
            ).replace('windows = ["7d"]', ""),
            "windows or ever, as share has no half-life",
        ),
        (aggregate("n", 'value = "kind"', functions='["distinct", "count"]'), "expected distinct alone"),
        (aggregate("n", functions='["distinct"]'), "a category, integer or text field, as distinct needs"),
        (aggregate("n", 'value = "amount"', functions='["distinct"]'), "category, integer or text field of"),
        (aggregate("n", 'value = "kind"', functions='["sum"]'), "a number field of sale, found 'kind'"),
        (
            aggregate("n", 'value = "kind"', 'by = "kind"', 'match = "k"', functions='["distinct"]'),
            "no by, as distinct counts the values of one field",
        ),
        (
            aggregate("n", 'value = "kind"', 'half_lives = ["7d"]', functions='["distinct"]'),
            "no half-lives, as distinct has none",
        ),
        (
            aggregate(
                "n",
                'value = "kind"',
                'trends = [["7d", "8d"]]',
                functions='["distinct"]',
                windows='["7d", "8d"]',
            ),
            "expected sums or counts to compare, found distinct",
        ),
        (aggregate("n", functions='["p0"]'), "share, p1 to p99, found 'p0'"),
        (aggregate("n", functions='["p100"]'), "share, p1 to p99, found 'p100'"),
        (aggregate("n", functions='["p07"]'), "share, p1 to p99, found 'p07'"),
        (aggregate("n", functions='["p50"]'), "a decimal or integer field, as p50 needs one, found nothing"),
        (aggregate("n", 'value = "kind"', functions='["p50"]'), "decimal or integer field of sale, found"),
        (
            aggregate("n", 'value = "amount"', functions='["sum", "p50"]'),
            "expected percentiles alone, found sum, p50; give them an aggregate of their own",
        ),
        (
            aggregate("n", 'value = "amount"', functions='["p1", "p2", "p3", "p4", "p5", "p6"]'),
            "functions: expected at most 5 percentiles, found 6",
        ),
        (
            aggregate("n", 'value = "amount"', 'half_lives = ["7d"]', functions='["p50"]'),
            "no half-lives, as percentiles have none, found 7d",
        ),
        (
            aggregate("n", 'value = "amount"', functions='["p50"]').replace('windows = ["7d"]', ""),
            "windows: expected windows, half_lives or ever for p50, found none",
        ),
        (
            aggregate("n", 'value = "amount"', 'by = "kind"', 'match = "k"', functions='["p50"]'),
            "no by, as percentiles are of all values of one field, found 'kind'",
        ),
        (aggregate("n", 'value = "amount"', PAIR, 'by = "offer"', functions='["p50"]'), "a customer's, as"),
        (
            aggregate("n", 'value = "amount"', 'of = "global"', functions='["p50"]'),
            "over everybody, found p50",
        ),
        (
            aggregate("n", 'value = "amount"', "keys = 9", functions='["p50"]'),
            "keys: expected by or distinct",
        ),
        (
            aggregate(
                "n",
                'value = "amount"',
                'trends = [["7d", "8d"]]',
                functions='["p50"]',
                windows='["7d", "8d"]',
            ),
            "expected sums or counts to compare, found percentiles",
        ),
        (aggregate("n", "keys = 3"), "keys: expected by or distinct beside it"),
        (aggregate("n", 'by = "kind"', 'match = "k"', "keys = 0"), "a whole number from 1 to 4096, found 0"),
        (aggregate("n", 'by = "kind"', 'match = "k"', "keys = 5000"), "from 1 to 4096, found 5000"),
        (aggregate("n", 'by = "kind"', 'match = "k"', "keys = true"), "from 1 to 4096, found True"),
        (aggregate("n", PAIR), "by: expected the field of the event that names the offer"),
        (aggregate("n", PAIR, 'by = "offer"', 'match = "k"'), "no match, as the offer's own id"),
        (aggregate("n", 'by = "kind"'), "match: expected the offer's attribute"),
        (aggregate("n", 'of = "pair"'), 'write of = ["customer", "offer"]'),
        (aggregate("n", 'of = ["offer", "customer"]'), 'write of = ["customer", "offer"]'),
        (aggregate("n", 'of = "custmer"'), "did you mean customer?"),
        (aggregate("n", "of = 3"), '"offer", "offer_group" or "global", found 3'),
        (aggregate("n", 'of = "ofer"'), "did you mean offer?"),
        (aggregate("n", 'of = "offer"'), "by: expected the field of the event that names the offer"),
        (aggregate("n", 'of = "offer"', 'by = "offer"', 'match = "k"'), "no match, as the offer's own id"),
        (aggregate("n", 'of = "offer_group"'), "by: expected the field of the event that names the group"),
        (aggregate("n", 'of = "offer_group"', 'by = "kind"'), "match: expected the offer's attribute"),
        (aggregate("n", 'of = "offer_group"', 'match = "kind"'), "by: expected the field that keys"),
        (aggregate("n", 'of = "global"', 'by = "kind"'), "expected no by, as it is one number for all"),
        (aggregate("n", 'of = "global"', 'match = "k"'), "expected no match, as it is one number for all"),
        (aggregate("n", 'of = "global"', "keys = 3"), "keys: expected by or distinct beside it"),
        (aggregate("n", 'of = "global"', "ever = true"), "ever: expected windows only, as it counts over"),
        (
            aggregate("n", 'of = "global"', 'half_lives = ["1d"]'),
            "half_lives: expected windows only, as it counts over everybody, found 1d",
        ),
        (
            aggregate("n", 'of = "global"', windows='["4m", "5m"]'),
            'windows: expected lengths from "5m" on, as it counts over everybody, found 4m',
        ),
        (
            aggregate("n", 'of = "global"', functions='["count", "since_last"]'),
            "functions: expected some of count, sum, mean, min, max, share over everybody, found since_last",
        ),
        (
            aggregate("n", 'of = "global"', 'value = "note"', functions='["distinct"]'),
            "functions: expected some of count, sum, mean, min, max, share over everybody, found distinct",
        ),
        (SHARE + aggregate("by_label_total"), "found another [[aggregate]] by_label_total; rename one"),
        ('memory = "3kB"' + SPEND, 'a size from "4kB" to "1MB", found \'3kB\''),
        ("memory = 64" + SPEND, "found 64"),
        ('memory = "2MB"' + SPEND, "found '2MB'"),
    ],
)
def test_each_new_kind_of_fault_is_said(text: str, message: str) -> None:
    assert message in faults(text)


SHARED = """
[[aggregate]]
name = "shop"
of = "global"
event = "sale"
value = "amount"
functions = ["sum", "mean"]
windows = ["1h", "7d"]
trends = [["1h", "7d"]]
unit = "USD"
meaning = "what everybody pays"
default = { mean = 0, trend = 1 }

[[aggregate]]
name = "popular"
of = "offer"
event = "sale"
by = "offer"
functions = ["count", "share"]
windows = ["7d"]
unit = "sales"
meaning = "sales of this offer to everybody"

[[aggregate]]
name = "kinds"
of = "offer_group"
event = "sale"
by = "kind"
match = "kind"
functions = ["count"]
windows = ["7d"]
keys = 9
unit = "sales"
meaning = "sales of things of this kind to everybody"
"""


def test_counts_over_everybody_are_columns_of_the_same_rows() -> None:
    text = SPEND + SHARED + ratio("of_the_shop", "spend_mean_7d", "shop_mean_7d")
    row, cross = rows(text)
    assert [name for name, each in row.items() if each.of == "global" and not each.hidden] == [
        *("shop_sum_1h", "shop_sum_7d", "shop_mean_1h", "shop_mean_7d", "shop_trend_1h_7d"),
    ]
    assert {name: (each.of, each.match) for name, each in cross.items()} == {
        "popular_count_7d": ("offer", "offer"),
        "popular_share_7d": ("offer", "offer"),
        "kinds_count_7d": ("offer_group", "kind"),
    }
    assert row["popular_total_count_7d"].hidden
    book = declared(text)
    assert [each.keys for each in book.aggregates] == [1, 1, 4096, 1, 9]
    assert memory_of_customer(book.aggregates) == memory_of(book.aggregates[0])


def test_customers_states_hold_nothing_of_everybody_and_everybodys_nothing_of_customers() -> None:
    plan = compile_plan(declared(SPEND + SHARED))
    assert plan.crowd is not None
    assert [bank.aggregate.name for bank in plan.banks] == ["spend"]
    assert [bank.aggregate.name for bank in plan.crowd.banks] == ["shop", "popular", "popular_total", "kinds"]
    other = compile_plan(declared(SPEND.replace("84d", "85d") + SHARED))
    assert other.crowd is not None
    assert other.digest != plan.digest
    assert other.crowd.digest == plan.crowd.digest, "what customers do is not what everybody's states hold"
    assert compile_plan(declared(SPEND)).crowd is None
    only = compile_plan(declared(SHARED))
    assert (only.banks, only.programs) == ((), {})


def test_a_trigger_cannot_watch_everybody() -> None:
    trigger = """
[[trigger]]
name = "busy"
on = "sale"
when = "WHEN > 3"
"""
    text = SPEND + SHARED + ratio("of_the_shop", "spend_mean_7d", "shop_mean_7d")
    for name in ("shop_sum_1h", "shop_trend_1h_7d", "of_the_shop"):
        with pytest.raises(PlaybookRefused) as caught:
            load(playbook(text, trigger.replace("WHEN", name), events=EVENTS))
        (fault,) = map(str, caught.value.faults)
        assert f"found {name}, counted over everybody; ask it in a rule of offers.toml" in fault
    load(playbook(text, trigger.replace("WHEN", "spend_mean_7d"), events=EVENTS))


@pytest.mark.parametrize("name", ["grocery", "wide"])
def test_whatever_is_derived_divides_stored_features_of_its_own_row_or_family(name: str) -> None:
    row, cross = features_of(load(GROCERY.parent / name))
    features = {feature.name: feature for feature in (*row, *cross)}
    assert len(features) == len(row) + len(cross)
    shown = [feature.hidden for feature in row], [feature.hidden for feature in cross]
    assert all(hidden == sorted(hidden) for hidden in shown), "visible ones come first"
    read = set()
    for feature in features.values():
        if feature.derived is None:
            continue
        numerator, denominator = (features[each] for each in feature.derived[:2])
        read |= {numerator.name, denominator.name}
        assert numerator.derived is None
        assert denominator.derived is None
        assert numerator.match == feature.match
        assert denominator.match in (feature.match, None)
    hidden_ones = {feature.name for feature in features.values() if feature.hidden}
    read |= {each.name for each in features.values() if each.aggregate.endswith("_nth")}
    assert hidden_ones <= read, "nothing is kept that nobody reads"


def test_memory_is_bounded_by_what_is_declared() -> None:
    assert declared(SPEND).memory_bytes == MEMORY == 64_000
    assert declared('memory = "4kB"' + SPEND).memory_bytes == 4_000
    assert declared('memory = "1MB"' + SPEND).memory_bytes == 1_000_000
    (one,) = declared(SPEND).aggregates
    # Three windows of 73 to 147 tiles, each of a place, a count and a sum.
    assert 16 + 250 * 17 < memory_of(one) < 16 + 400 * 17
    book = declared(SHARE)
    assert memory_of(book.aggregates[0]) % 40 == 0
    assert memory_of_customer(book.aggregates) == sum(map(memory_of, book.aggregates))
    assert memory_of_customer([one._replace(of="offer")]) == 0


def test_a_bound_too_small_for_the_aggregates_is_a_fault() -> None:
    many = "".join(
        aggregate(f"n{n}", functions='["count", "since_last", "since_first"]', windows='["7d", "28d"]')
        for n in range(80)
    )
    assert "memory: expected 10,880 bytes or more for these aggregates, found 4,000 bytes" in faults(
        'memory = "4kB"' + many
    )


def test_many_known_names_are_not_all_listed() -> None:
    many = "".join(aggregate(f"n{n}") for n in range(30))
    text = faults(many + ratio("r", "zebra", "n1_count_7d"))
    assert "and 10 more" in text

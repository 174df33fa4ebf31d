"""`features load`, as a person runs it: real files, real databases, a real Redis."""

import datetime as dt
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from events.identity import id_key, mint
from features.attribute_load import load_table
from features.attribute_rows import Rows
from features.attribute_store import RedisAttributeStore
from features.attributes import NO_ROW, Held
from features.declare import load
from kairos import attribute_verb
from kairos.__main__ import main
from kairos.local import Server, free_port
from tests.features.test_declare_attribute import ATTRIBUTES, with_attributes

NOON = dt.datetime(2017, 7, 14, 2, 40, tzinfo=dt.UTC)
NOON_MS = 1_500_000_000_000

ROWS: list[dict[str, Any]] = [
    {
        "card_no": f"c{n}",
        "known_at": NOON,
        "age": "25-34",
        "persons": n,
        "income": 1.5 * n,
        "owner": n % 2 == 0,
    }
    for n in range(1, 5)
]


class Rig:
    """A playbook, a folder of data and a Redis, and the verb over them."""

    def __init__(
        self, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = ATTRIBUTES
    ) -> None:
        self.playbook, self.folder, self.url = with_attributes(text), folder, url
        self.tables = load(self.playbook).attributes
        self.redis = redis.Redis.from_url(url)
        self.redis.flushall()
        self.store = RedisAttributeStore(url, "kairos")
        settings = {"PLAYBOOK": self.playbook, "RUN_DIR": folder, "REDIS": url, "CLOCK": "events"}
        for name, value in settings.items():
            monkeypatch.setenv(f"KAIROS_{name}", str(value))

    def write(self, rows: Sequence[dict[str, Any]], name: str = "households.parquet") -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), self.folder / name)

    def held(self, card: str) -> Held:
        return self.store.read_many(self.tables, [mint("card", card)])[0]

    def newest(self, card: str) -> tuple[Any, ...] | None:
        """Since, as-of and values of the newest version."""
        versions = self.held(card).versions[0]
        return (versions[0].since, versions[0].as_of, *versions[0].values) if versions else None

    def history(self) -> bytes:
        return (self.folder / "feast" / "attributes_household.parquet").read_bytes()


@pytest.fixture
def rig(redis_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(redis_server.url, tmp_path, monkeypatch)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["features", "load", *words]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_first_load_brings_everything_and_a_second_nothing(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.write(ROWS)
    text = said(capsys)
    assert "household: 4 rows of" in text
    assert "for: offers that fit the household" in text
    assert "+ 4 new" in text
    assert "wrote 4 customers online and the past" in text
    assert rig.newest("c3") == (NOON_MS + 1, NOON_MS, "25-34", 3, 4.5, False)
    assert rig.held("c9") == Held((0,), ((),)), "nobody of the table, which is loaded"
    before = rig.history(), rig.redis.info("stats")["total_commands_processed"]
    text = said(capsys, "household")
    assert "= 4 unchanged" in text
    assert "nothing changed" in text
    assert rig.history() == before[0]


def test_a_later_load_says_what_differs_and_counts_from_then(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.write(ROWS)
    said(capsys)
    rig.redis.hset("kairos:watermarks", mapping={"0": NOON_MS + 5_000, "1": NOON_MS + 9_000})
    later = NOON + dt.timedelta(seconds=1)
    changed = [ROWS[0] | {"persons": 7, "known_at": later}, ROWS[1] | {"known_at": later}, ROWS[2]]
    rig.write(
        [*changed, ROWS[0] | {"card_no": "c5"}, ROWS[0] | {"persons": 3, "known_at": NOON - dt.timedelta(1)}]
    )
    text = said(capsys)
    for line in (
        "+ 1 new",
        "~ 2 changed: size of 1, 1 of them only known anew",
        "- 1 gone: the table has no row of them any more",
        "= 1 unchanged",
        "1 rows left out: something newer counted before they came",
        "counts from 2017-07-14T02:40:09.001Z: decisions until then stand as they were",
        "wrote 4 customers online",
    ):
        assert line in text, text
    at = NOON_MS + 9_001
    assert rig.newest("c1") == (at, NOON_MS + 1_000, "25-34", 7, 1.5, False)
    assert [version.values[1] for version in rig.held("c1").versions[0]] == [7, 1], "the one before is kept"
    assert rig.newest("c4") == (at, NO_ROW, None, None, None, None)
    assert rig.newest("c5") == (at, NOON_MS, "25-34", 1, 1.5, False)
    assert "nothing changed" in said(capsys)
    rig.redis.hset("kairos:watermarks", "1", NOON_MS + 20_000)
    rig.write([*changed, ROWS[3]])
    text = said(capsys)
    assert "+ 1 new" in text
    assert "- 1 gone" in text
    assert rig.newest("c4") == (NOON_MS + 20_001, NOON_MS, "25-34", 4, 6.0, True), "it came back"


def test_the_past_can_be_told_anew(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.redis.hset("kairos:watermarks", "0", NOON_MS + 5_000)
    rig.write(ROWS)
    assert "counts from" in said(capsys)
    assert rig.newest("c1") is not None
    assert rig.held("c1").loaded == (NOON_MS + 5_001,)
    text = said(capsys, "--past")
    assert "counts from" not in text
    assert rig.held("c1").loaded == (0,)
    assert rig.newest("c1") == (NOON_MS + 1, NOON_MS, "25-34", 1, 1.5, False)
    assert "nothing changed" in said(capsys, "--past")
    assert "nothing changed" in said(capsys)


def test_bad_rows_are_told_counted_and_kept_out(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.write(ROWS)
    said(capsys)
    bad = [
        ROWS[0] | {"known_at": dt.datetime(2070, 1, 1, tzinfo=dt.UTC)},
        ROWS[1] | {"known_at": None},
        ROWS[2] | {"income": float("inf")},
        ROWS[3] | {"card_no": ""},
        *[ROWS[2] | {"card_no": f"x{n}", "income": float("inf")} for n in range(20)],
        ROWS[3] | {"age": "80+", "known_at": NOON + dt.timedelta(1)},
    ]
    rig.write(bad)
    text = said(capsys)
    assert "1 values of age are no declared category, so not known: '80+' 1" in text
    assert "24 bad rows, kept out" in text
    assert "21 x income: expected a decimal" in text
    assert "row 1: known_at: expected an instant up to" in text
    assert "row 2: known_at: expected an instant from 1970 on, found null" in text
    assert text.count("    row ") == 10, "the first ten"
    assert "~ 1 changed: age of 1" in text
    assert "gone" not in text, "what was known of customers with bad rows stays"
    assert rig.newest("c1") == (NOON_MS + 1, NOON_MS, "25-34", 1, 1.5, False)
    assert rig.held("x3").versions == ((),)


def test_a_source_without_one_good_row_changes_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.write(ROWS)
    said(capsys)
    kept = rig.history()
    rig.write([row | {"known_at": None} for row in ROWS])
    assert "expected good rows, found none of 4; nothing was changed" in said(capsys, code=2)
    pq.write_table(pa.Table.from_pylist(ROWS).slice(0, 0), rig.folder / "households.parquet")
    assert "the source is empty" in said(capsys, code=2)
    assert rig.history() == kept
    assert rig.newest("c1") is not None


def test_ids_are_resolved_and_one_that_nobody_linked_is_left_alone(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    other = mint("app", "anne")
    rig.redis.set(id_key("card", "c1"), other)
    rig.write([*ROWS[:2], ROWS[2] | {"card_no": "c2"}])
    text = said(capsys)
    assert "1 rows beside another of the same customer and instant: one counts" in text
    assert rig.store.read_many(rig.tables, [other])[0].versions[0][0].values[1] == 1
    assert rig.newest("c1") is None
    assert rig.newest("c2") == (NOON_MS + 1, NOON_MS, "25-34", 3, 4.5, False)
    assert rig.redis.get(id_key("card", "c2")) is None, "whose it is, the links still to come will say"
    rig.redis.set(id_key("card", "c2"), other)
    rig.write(ROWS[:2])
    assert "- 1 gone" in said(capsys)
    assert rig.newest("c2") is None


def test_a_store_that_lost_its_values_gets_them_back(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.write(ROWS)
    said(capsys)
    kept = rig.newest("c1"), rig.history()
    rig.redis.flushall()
    text = said(capsys)
    assert "= 4 unchanged" in text
    assert "wrote 4 customers online as they were not what they should be" in text
    assert (rig.newest("c1"), rig.history()) == kept


def test_a_glob_of_files_and_their_kinds_of_columns(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    text = ATTRIBUTES.replace("households.parquet", "parts/*.parquet")
    (rig.playbook / "attributes.toml").write_text(text)
    rig.write([ROWS[0] | {"known_at": dt.date(2017, 7, 14)}], "parts/a.parquet")
    table = pa.table(
        {
            "card_no": pa.array([2], pa.int32()),
            "known_at": pa.array([NOON_MS * 1_000_000 + 999_999], pa.timestamp("ns")),
            "age": pa.array(["65+"]).dictionary_encode(),
            "persons": pa.array([2.0]),
            "income": pa.array([3], pa.decimal128(9, 2)),
            "owner": pa.array([1], pa.int8()),
        }
    )
    pq.write_table(table, rig.folder / "parts" / "b.parquet")
    assert "+ 2 new" in said(capsys)
    assert rig.newest("2") == (NOON_MS + 1, NOON_MS, "65+", 2, 3.0, True)
    assert rig.newest("c1") == (1_499_990_400_001, 1_499_990_400_000, "25-34", 1, 1.5, False)


def test_a_query_to_a_database(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = '{ sql = "SELECT card_no, known_at, age, persons, income, owner FROM h", connection = "WAREHOUSE" }'
    (rig.playbook / "attributes.toml").write_text(
        ATTRIBUTES.replace('{ parquet = "households.parquet" }', sql)
    )
    assert "expected a database's address in the environment variable WAREHOUSE" in said(capsys, code=3)
    path = rig.folder / "warehouse.db"
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{path}")
    assert "no such table: h" in said(capsys, code=3)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE h (card_no, known_at, age, persons, income, owner)")
        database.execute("INSERT INTO h VALUES ('c1', '2017-07-14 02:40:00', '65+', 2, 30000.5, 1)")
        database.execute("INSERT INTO h VALUES ('c2', '2017-07-14T04:40:00+02:00', NULL, NULL, NULL, NULL)")
    database.close()
    text = said(capsys)
    assert "2 rows of a query to WAREHOUSE" in text
    assert rig.newest("c1") == (NOON_MS + 1, NOON_MS, "65+", 2, 30_000.5, True)
    assert rig.newest("c2") == (NOON_MS + 1, NOON_MS, None, None, None, None)
    monkeypatch.setenv("WAREHOUSE", "nonsense://me:secret@host/db")
    text = said(capsys, code=3)
    assert "expected an address that SQLAlchemy knows in WAREHOUSE" in text
    assert "secret" not in text


def test_what_cannot_be_read_is_said(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "households.parquet, found none; write them there, or set KAIROS_DATA" in said(capsys, code=3)
    (rig.folder / "households.parquet").write_bytes(b"PAR1 this is no Parquet file")
    assert "expected Parquet files" in said(capsys, code=3)
    rig.write([{"card_no": "c1", "known_on": NOON}])
    text = said(capsys, code=2)
    assert "expected column 'known_at' in" in text
    assert "did you mean known_on?" in text
    assert "expected column 'persons'" in text, "all at once"
    assert "did you mean household?" in said(capsys, "househol", code=2)
    monkeypatch.setenv("KAIROS_DATA", str(rig.folder / "elsewhere"))
    assert "elsewhere/households.parquet, found none" in said(capsys, code=3)
    rig.write(ROWS, "elsewhere/households.parquet")
    assert "+ 4 new" in said(capsys)
    monkeypatch.setenv("KAIROS_REDIS", f"redis://127.0.0.1:{free_port()}")
    assert "expected to read and write attributes at" in said(capsys, code=3)


def test_a_playbook_without_attributes(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.playbook / "attributes.toml").unlink()
    assert "no attributes.toml, so there is nothing to load" in said(capsys)
    assert "the playbook declares none" in said(capsys, "household", code=2)


def test_minted_ids_may_be_the_key(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.playbook / "attributes.toml").write_text(ATTRIBUTES.replace("{ card =", "{ customer ="))
    rig.write([ROWS[0] | {"card_no": mint("card", "c1")}, ROWS[1]])
    text = said(capsys)
    assert "row 2: card_no: expected an id that Kairos minted" in text
    assert rig.newest("c1") == (NOON_MS + 1, NOON_MS, "25-34", 1, 1.5, False)


def test_with_the_wall_s_clock_changes_count_once_they_are_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAIROS_CLOCK", "wall")
    rig.write(ROWS)
    said(capsys)
    rig.redis.hset("kairos:watermarks", "0", NOON_MS)
    rig.write([ROWS[0] | {"persons": 9}, *ROWS[1:]])
    before = dt.datetime.now(dt.UTC)
    text = said(capsys)
    since = rig.held("c1").versions[0][0].since - before.timestamp() * 1000
    assert 2_000 <= since < 60_000, (
        "later than the load ends, so that no decision sees a row before it counts"
    )
    assert "counts from" in text
    assert json.dumps(text).isascii()


def test_changes_are_written_before_the_rest_is_looked_over(rig: Rig) -> None:
    (table,) = rig.tables
    told: list[object] = []

    def load_rows(persons: int) -> None:
        good = [(f"c{n}", NOON_MS, ("65+", persons if n == 7 else n, 1.0, True)) for n in range(9)]

        def counts_from(changed: int) -> int:
            told.append(changed)
            return NOON_MS + 1_000 * persons + changed

        def all_changed() -> None:
            told.append(rig.newest("c7"))

        rows = Rows(good=good, count=9)
        load_table(
            *(table, rows),
            run_dir=rig.folder,
            store=rig.store,
            counts_from=counts_from,
            all_changed=all_changed,
        )

    load_rows(1)
    assert told[:2] == [0, 9]
    told.clear()
    load_rows(2)
    assert told == [0, 1, (NOON_MS + 2_001, NOON_MS, "65+", 2, 1.0, True)]
    told.clear()
    load_rows(2)
    assert told[:2] == [0, 0], "nothing changes"


def test_a_long_load_says_how_far_it_is(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.write(ROWS)
    for name in ("QUIET_S", "SAY_EVERY_S"):
        monkeypatch.setattr(attribute_verb, name, 0.0)
    text = said(capsys)
    assert "household: 4 of 4 rows read" in text
    assert "household: 4 of 4 customers compared" in text

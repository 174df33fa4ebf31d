"""The one door to Feast: its objects, derived from the plan; rows read through its SDK.

Never run `feast apply` on this folder: it imports every file twice and then refuses its own views. Feast
warns about its own deprecations at import and in calls; they are silenced here, where Feast is entered,
and nowhere else.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import redis
from numpy.typing import NDArray

from events.faults import Refusal
from features.attribute import AttributeTable
from features.attribute_fields import columns_of
from features.attribute_history import fit_history, history_path, loaded_in
from features.attribute_store import RedisAttributeStore
from features.duration import render_duration
from features.everybody import Cut
from features.everybody_bytes import pack_everybody
from features.everybody_past import EverybodyPast
from features.everybody_store import read_kept, seen_at
from features.feast_difference import (
    OFFER_SERVICE,
    OFFER_VIEW,
    ROW_VIEW,
    SERVICE,
    Described,
    differences,
    refuse_collisions,
)
from features.feast_store import FEATURES, JOIN_KEY, VIEW, WATERMARKS_KEY
from features.feast_view import EVERYBODY, NEVER, loaded_name, offer_features, offer_keys
from features.full_row import full_features
from features.plan import Plan
from features.row import Everybody
from features.spine import write_spine


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


with _quiet():
    import feast
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.transformation.python_transformation import PythonTransformation
    from feast.types import Bool, Bytes, FeastType, Float32, Float64, Int64, String
    from feast.value_type import ValueType

_TAG = "plan"
_TYPES: Mapping[str | None, "FeastType"] = {
    "decimal": Float64,
    "integer": Int64,
    "category": String,
    "boolean": Bool,
    None: Bytes,
}


class NotInSpine(Refusal):
    """An instant was asked for that the spine does not hold; fold the log for it first."""


class FeastDoor:
    """Feast over one plan: registry and offline files below `run_dir/feast`, online values in Redis.

    Opening takes a second, importing this module five: notebooks and `features apply` do, serving never does.
    """

    def __init__(self, plan: Plan, *, project: str, redis_url: str, run_dir: Path) -> None:
        self.plan = plan
        self.tables = plan.playbook.attributes
        self._run_dir = run_dir
        self._redis = redis_url
        self.folder = (run_dir / "feast").resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.spine = self.folder / "customer_state.parquet"
        where = urlsplit(redis_url)
        address = f"{where.hostname}:{where.port or 6379},db={where.path.strip('/') or '0'}"
        for key in ("username", "password"):
            if given := getattr(where, key):
                address += f",{key}={given}"
        with _quiet():
            config = feast.RepoConfig(
                project=project,
                provider="local",
                registry={"registry_type": "sql", "path": f"sqlite:///{self.folder}/registry.db"},
                online_store={"type": "redis", "connection_string": address},
                offline_store={"type": "duckdb"},
                entity_key_serialization_version=3,
                repo_path=self.folder,
            )
            self.store = FeatureStore(config=config)

    def apply(self) -> list[str]:
        """Bring the registry to what the plan says; what changed, a line each (+ new, ~ changed, - gone).

        Applying again changes nothing and answers no line. The values of a view that is gone stay where they
        are. Errors: `FieldsCollide`.
        """
        refuse_collisions(self.plan)
        if not self.spine.exists():
            write_spine(self.spine, [])
        for table in self.tables:
            fit_history(history_path(self._run_dir, table.name), table)
        objects = self._objects()
        with _quiet():
            before, after = self._registered(), _described(objects)
            lines = differences(before, after)
            if lines:
                self.store.apply(objects)
            for view in sorted(before.keys() - after.keys()):
                if view == OFFER_VIEW:
                    self.store.delete_feature_service(OFFER_SERVICE)
                self.store.delete_feature_view(view)
        return lines

    def _registered(self) -> Described:
        views = self.store.list_feature_views(allow_cache=False)
        return _described([*views, *self.store.list_on_demand_feature_views(allow_cache=False)])

    def _tag(self) -> str:
        return f"{self.plan.digest} {self.plan.playbook.folder}"

    def _objects(self) -> list[Any]:
        customer = Entity(
            name="customer",
            join_keys=[JOIN_KEY],
            value_type=ValueType.STRING,
            description="one person or household, of many ids",
        )
        source = FileSource(name=f"{VIEW}_spine", path=str(self.spine), timestamp_field="event_timestamp")
        state = FeatureView(
            name=VIEW,
            entities=[customer],
            schema=[
                Field(name=JOIN_KEY, dtype=feast.types.String),
                *(Field(name=name, dtype=Bytes) for name in FEATURES),
            ],
            source=source,
            description="the folded state of a customer, written by the stream",
        )
        tables = [self._view(table, customer) for table in self.tables]
        given = ["as_of", "watermark", *(loaded_name(table.name) for table in self.tables)]
        fields = [Field(name=name, dtype=Int64) for name in given]
        if self.plan.crowd is not None:
            fields.append(Field(name=EVERYBODY, dtype=Bytes))
        moment = RequestSource(name="moment", schema=fields)
        transformation = PythonTransformation(
            udf=_function(str(self.plan.playbook.folder), self.plan.digest),
            udf_string=f"features.feast_view.columns, plan {self.plan.digest}",
        )
        rows = OnDemandFeatureView(
            name=ROW_VIEW,
            sources=[state, *tables, moment],
            schema=[Field(name=name, dtype=Float32) for name in self._names()],
            feature_transformation=transformation,
            mode="python",
            description="the customer's row at the instant as_of, as serving computes it",
            tags={_TAG: self._tag()},
        )
        offers = self._offers()
        services = [FeatureService(name=SERVICE, features=[rows])]
        services += [FeatureService(name=OFFER_SERVICE, features=[each]) for each in offers]
        return [customer, state, *tables, rows, *offers, *services]

    def _offers(self) -> list[Any]:
        """What everybody does about offers, as a view; none when nothing is counted so."""
        features = offer_features(self.plan)
        if not features:
            return []
        fields = [Field(name=name, dtype=String) for name in offer_keys(self.plan)]
        fields += [Field(name="as_of", dtype=Int64), Field(name=EVERYBODY, dtype=Bytes)]
        transformation = PythonTransformation(
            udf=_offer_function(str(self.plan.playbook.folder), self.plan.digest),
            udf_string=f"features.feast_view.offer_columns, plan {self.plan.digest}",
        )
        view = OnDemandFeatureView(
            name=OFFER_VIEW,
            sources=[RequestSource(name="offer_moment", schema=fields)],
            schema=[Field(name=feature.name, dtype=Float32) for feature in features],
            feature_transformation=transformation,
            mode="python",
            description="what everybody does about an offer at the instant as_of, as serving computes it",
            tags={_TAG: self._tag()},
        )
        return [view]

    def _view(self, table: AttributeTable, customer: Any) -> Any:
        path = history_path(self._run_dir, table.name)
        fields = [Field(name=name, dtype=_TYPES[kind]) for name, kind in columns_of(table)]
        return FeatureView(
            name=table.name,
            entities=[customer],
            # No time to live: that a row is too old is for the row to say, else it would read as none at all.
            ttl=timedelta(0),
            schema=[Field(name=JOIN_KEY, dtype=String), *fields],
            source=FileSource(
                name=f"{table.name}_history", path=str(path), timestamp_field="event_timestamp"
            ),
            description=table.purpose,
            tags={"purpose": table.purpose, "freshness": render_duration(table.freshness_ms)},
        )

    def online_rows(self, customers: Sequence[str], as_of: int, watermark: int | None) -> NDArray[np.float32]:
        """The rows of the customers at `as_of` (ms) from the online store, in the order of the plan.

        `watermark` (ms): up to when the log has been read; None: never, so every value is missing.
        """
        mark = NEVER if watermark is None else watermark
        moment: dict[str, Any] = {"as_of": as_of, "watermark": mark} | self._loaded_online()
        if self.plan.crowd is not None:
            moment[EVERYBODY] = pack_everybody(self.everybody(as_of))
        entities = [{JOIN_KEY: customer} | moment for customer in customers]
        with _quiet():
            service = self.store.get_feature_service(SERVICE)
            answer = self.store.get_online_features(features=service, entity_rows=entities).to_dict()
        return self._rows(answer, len(customers))

    def offer_rows(self, keys: Mapping[str, Sequence[str]], as_of: int) -> NDArray[np.float32]:
        """What everybody does about n offers at `as_of` (ms), in the order of `feast_view.offer_features`.

        `keys[match][i]` is the attribute `match` of offer i, for each of `feast_view.offer_keys`.
        """
        told = pack_everybody(self.everybody(as_of), offers=True)
        columns = [keys[name] for name in offer_keys(self.plan)]
        entities = [
            dict(zip(offer_keys(self.plan), each, strict=True)) | {"as_of": as_of, EVERYBODY: told}
            for each in zip(*columns, strict=True)
        ]
        with _quiet():
            service = self.store.get_feature_service(OFFER_SERVICE)
            answer = self.store.get_online_features(features=service, entity_rows=entities).to_dict()
        rows = [answer[feature.name] for feature in offer_features(self.plan)]
        return np.array(rows, dtype=np.float32).T

    def everybody(self, at: int) -> Everybody:
        """What is counted over everybody in the online store, read at `at` (ms)."""
        with redis.Redis.from_url(self._redis) as client:
            kept = read_kept(client, client.hlen(WATERMARKS_KEY))
        return seen_at(self.plan, kept, at)[0]

    def historical_rows(self, moments: pd.DataFrame, past: EverybodyPast | None = None) -> pd.DataFrame:
        """`moments` (`customer_id`, `at` ms, what else it has) and a column for each feature, row for row.

        The rows are those of the log cut before `at`, with the attributes that counted then; the spine must
        hold every (customer_id, at). What is counted over everybody comes from `past`: as of `at`, or as a
        decision saw it where a column `everybody` says so (`features.everybody.Cut.plain`); without `past` it
        is missing. Errors: `NotInSpine`.
        """
        self._refuse_strangers(moments)
        asked = pd.DataFrame(
            {
                JOIN_KEY: moments["customer_id"].to_numpy(),
                "event_timestamp": pd.to_datetime(moments["at"].to_numpy(), unit="ms", utc=True),
                "as_of": moments["at"].to_numpy(dtype="int64"),
                "watermark": moments["at"].to_numpy(dtype="int64"),
                "place": np.arange(len(moments), dtype="int64"),
            }
            | {
                loaded_name(table.name): np.full(len(moments), _moment(loaded), dtype="int64")
                for table, loaded in self._loaded_in_the_past()
            }
            | ({} if self.plan.crowd is None else {EVERYBODY: _everybody_then(moments, past)})
        )
        with _quiet():
            service = self.store.get_feature_service(SERVICE)
            job = self.store.get_historical_features(entity_df=asked, features=service)
            table = job.to_arrow().sort_by("place")
        rows = self._rows({name: table[name].to_numpy() for name in self._names()}, len(moments))
        found = pd.DataFrame(rows, columns=list(self._names()), index=moments.index)
        return pd.concat([moments, found], axis=1)

    def _loaded_online(self) -> dict[str, int]:
        store = RedisAttributeStore(self._redis, self.store.project)
        loaded = store.loaded(self.tables)
        store.close()
        return {loaded_name(table.name): _moment(at) for table, at in zip(self.tables, loaded, strict=True)}

    def _loaded_in_the_past(self) -> list[tuple[AttributeTable, int | None]]:
        return [(table, loaded_in(history_path(self._run_dir, table.name))) for table in self.tables]

    def _names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in full_features(self.plan))

    def _rows(self, columns: Mapping[str, Any], count: int) -> NDArray[np.float32]:
        rows = np.array([columns[name] for name in self._names()], dtype=np.float32).T
        if rows.shape != (count, len(self._names())):
            raise RuntimeError(f"Feast answered {rows.shape}, expected {(count, len(self._names()))}")
        return rows

    def _refuse_strangers(self, moments: pd.DataFrame) -> None:
        held = pq.read_table(self.spine, columns=["customer_id", "event_timestamp"])
        times = held["event_timestamp"].cast("int64").to_numpy() // 1_000
        known = set(zip(held["customer_id"].to_pylist(), times.tolist(), strict=True))
        for customer, at in zip(moments["customer_id"], moments["at"], strict=True):
            if (customer, int(at)) not in known:
                when = datetime.fromtimestamp(at / 1000, UTC).isoformat()
                raise NotInSpine(
                    f"{self.spine}: expected a state of {customer} at {when}, found none; "
                    "write it with features.spine.fold_spine and write_spine"
                )


def _moment(at: int | None) -> int:
    return NEVER if at is None else at


def _everybody_then(moments: pd.DataFrame, past: EverybodyPast | None) -> list[bytes]:
    """What each moment takes in; asked in the order of the log, so that it is folded once."""
    packed = [b""] * len(moments)
    if past is None:
        return packed
    instants = moments["at"].tolist()
    cuts = moments[EVERYBODY].tolist() if EVERYBODY in moments else [None] * len(moments)
    for place in sorted(range(len(moments)), key=lambda n: (sum((cuts[n] or ())[2:]), instants[n])):
        cut = cuts[place]
        seen = past.before(instants[place]) if cut is None else past.served(Cut.of(cut))
        packed[place] = pack_everybody(seen)
    return packed


def _described(objects: Sequence[Any]) -> Described:
    return {
        view.name: ({field.name: str(field.dtype) for field in view.features}, dict(view.tags))
        for view in objects
        if isinstance(view, FeatureView | OnDemandFeatureView)
    }


def _function(folder: str, digest: str) -> Any:
    """The function that Feast keeps by value: module globals vanish with it, so it brings what it needs."""

    def customer_features(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        from features.feast_view import columns

        return dict(columns(folder, digest, inputs))

    return customer_features


def _offer_function(folder: str, digest: str) -> Any:
    """The same for offers."""

    def offer_features(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        from features.feast_view import offer_columns

        return dict(offer_columns(folder, digest, inputs))

    return offer_features

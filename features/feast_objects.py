"""The one door to Feast: its objects, derived from the plan; rows read through its SDK.

Never run `feast apply` on this folder: it imports every file twice and then refuses its own views. Feast
warns about its own deprecations at import and in calls; they are silenced here, where Feast is entered,
and nowhere else.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from events.faults import Refusal
from features.feast_store import BLOB_FIELD, FEATURE, JOIN_KEY, VIEW, field_of
from features.feast_view import NEVER
from features.plan import Plan
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
    from feast.types import Bytes, Float32, Int64
    from feast.value_type import ValueType

ROW_VIEW = "customer_features"
SERVICE = "customer_row"
_TAG = "plan"


class FieldsCollide(Refusal):
    """Two features would share a field of Redis; rename one."""


class NotInSpine(Refusal):
    """An instant was asked for that the spine does not hold; fold the log for it first."""


class FeastDoor:
    """Feast over one plan: registry and offline files below `run_dir/feast`, online values in Redis.

    Opening takes a second, importing this module five: notebooks and `features apply` do, serving never does.
    """

    def __init__(self, plan: Plan, *, project: str, redis_url: str, run_dir: Path) -> None:
        self.plan = plan
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

        Applying again changes nothing and answers no line. Errors: `FieldsCollide`.
        """
        refuse_collisions(self.plan)
        if not self.spine.exists():
            write_spine(self.spine, [])
        with _quiet():
            lines = self._difference()
            if lines:
                self.store.apply(self._objects())
        return lines

    def _difference(self) -> list[str]:
        views = {view.name: view for view in self.store.list_on_demand_feature_views(allow_cache=False)}
        names = {feature.name for feature in self.plan.customer_features}
        if ROW_VIEW not in views:
            return [
                f"+ entity customer, joined by {JOIN_KEY}",
                f"+ view {VIEW}: {FEATURE}",
                *(f"+ view {ROW_VIEW}: {feature.name}" for feature in self.plan.customer_features),
                f"+ service {SERVICE}",
            ]
        view = views[ROW_VIEW]
        before = {field.name for field in view.features}
        lines = [f"- view {ROW_VIEW}: {name}" for name in sorted(before - names)]
        lines += [f"+ view {ROW_VIEW}: {name}" for name in sorted(names - before)]
        tag = self._tag()
        if view.tags.get(_TAG) != tag:
            lines.append(f"~ view {ROW_VIEW}: from plan {view.tags.get(_TAG)} to {tag}")
        return lines

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
            schema=[Field(name=JOIN_KEY, dtype=feast.types.String), Field(name=FEATURE, dtype=Bytes)],
            source=source,
            description="the folded state of a customer, written by the stream",
        )
        moment = RequestSource(
            name="moment", schema=[Field(name="as_of", dtype=Int64), Field(name="watermark", dtype=Int64)]
        )
        transformation = PythonTransformation(
            udf=_function(str(self.plan.playbook.folder), self.plan.digest),
            udf_string=f"features.feast_view.columns, plan {self.plan.digest}",
        )
        rows = OnDemandFeatureView(
            name=ROW_VIEW,
            sources=[state, moment],
            schema=[Field(name=feature.name, dtype=Float32) for feature in self.plan.customer_features],
            feature_transformation=transformation,
            mode="python",
            description="the customer's row at the instant as_of, as serving computes it",
            tags={_TAG: self._tag()},
        )
        return [customer, state, rows, FeatureService(name=SERVICE, features=[rows])]

    def online_rows(self, customers: Sequence[str], as_of: int, watermark: int | None) -> NDArray[np.float32]:
        """The rows of the customers at `as_of` (ms) from the online store, in the order of the plan.

        `watermark` (ms): up to when the log has been read; None: never, so every value is missing.
        """
        mark = NEVER if watermark is None else watermark
        entities = [{JOIN_KEY: customer, "as_of": as_of, "watermark": mark} for customer in customers]
        with _quiet():
            service = self.store.get_feature_service(SERVICE)
            answer = self.store.get_online_features(features=service, entity_rows=entities).to_dict()
        return self._rows(answer, len(customers))

    def historical_rows(self, moments: pd.DataFrame) -> pd.DataFrame:
        """`moments` (`customer_id`, `at` ms, what else it has) and a column for each feature, row for row.

        The rows are those of the log cut before `at`; the spine must hold every (customer_id, at).
        Errors: `NotInSpine`.
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
        )
        with _quiet():
            service = self.store.get_feature_service(SERVICE)
            job = self.store.get_historical_features(entity_df=asked, features=service)
            table = job.to_arrow().sort_by("place")
        rows = self._rows({name: table[name].to_numpy() for name in self._names()}, len(moments))
        found = pd.DataFrame(rows, columns=list(self._names()), index=moments.index)
        return pd.concat([moments, found], axis=1)

    def _names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.plan.customer_features)

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


def refuse_collisions(plan: Plan) -> None:
    """Check that no two features of the customer's hash share a field, which are named by 32 bit hashes.

    Errors: `FieldsCollide`.
    """
    owners = {BLOB_FIELD: f"{VIEW}:{FEATURE}"}
    for feature in plan.customer_features:
        field = field_of(ROW_VIEW, feature.name)
        if field in owners:
            raise FieldsCollide(
                f"expected a field of Redis for each feature, found {field.hex()} for both {owners[field]} "
                f"and {ROW_VIEW}:{feature.name}; rename one"
            )
        owners[field] = f"{ROW_VIEW}:{feature.name}"


def _function(folder: str, digest: str) -> Any:
    """The function that Feast keeps by value: module globals vanish with it, so it brings what it needs."""

    def customer_features(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        from features.feast_view import columns

        return dict(columns(folder, digest, inputs))

    return customer_features

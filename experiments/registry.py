"""The register of models: MLflow's, holding our own bytes, with a digest that every reader checks."""

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

# MLflow reads these when it is imported: no telemetry, no progress bars on a server's stderr.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

with warnings.catch_warnings():
    # MLflow's own use of SQLAlchemy, at import; not ours to mend.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
    import mlflow.store.model_registry.sqlalchemy_store  # noqa: F401
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from experiments.registry_file import SQLITE, artefacts_of, file_of, make_ready

# It tells of every table it makes.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)

FILE = "model.bin"
EXPERIMENT = "kairos"


class Tampered(Exception):
    """The bytes of a registered model are not those that were registered."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A registered model: its version, its kind (`lightgbm`, `river`) and its verified bytes."""

    version: str
    kind: str
    bytes: bytes


class Registry:
    """Models by name and version, with aliases such as `champion` that say which one serves.

    `uri` is MLflow's: `sqlite:///var/run/mlflow.db` or a server's address. Artefacts of an SQLite registry go
    to the folder `models` beside its file.
    """

    def __init__(self, uri: str) -> None:
        if uri.startswith("file:") or "://" not in uri:
            raise ValueError(
                f"mlflow: expected sqlite:///path/to/file.db or a server's address, found {uri!r}; "
                "MLflow's folder of files holds no registry"
            )
        self.uri = uri
        self._file = file_of(uri)
        if self._file is not None:
            make_ready(self._file, self._make)
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._experiment: str | None = None

    def log_model(
        self,
        name: str,
        artefact: bytes,
        kind: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        data_digest: str = "",
    ) -> str:
        """Register `artefact` as the next version of `name`; returns that version.

        `data_digest` says which data it was made from.
        """
        digest = sha256(artefact).hexdigest()
        tags = {"kind": kind, "sha256": digest, "data": data_digest, "bytes": str(len(artefact))}
        run = self._client.create_run(self._experiment_id(), run_name=f"{name} {kind}", tags=tags)
        identity = run.info.run_id
        for key, value in (params or {}).items():
            self._client.log_param(identity, key, value)
        for key, number in (metrics or {}).items():
            self._client.log_metric(identity, key, float(number))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / FILE
            path.write_bytes(artefact)
            self._client.log_artifact(identity, str(path))
        self._client.set_terminated(identity)
        self._ensure(name)
        source = f"{run.info.artifact_uri}/{FILE}"
        made = self._client.create_model_version(name, source, run_id=identity, tags=tags)
        return str(made.version)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let `alias` name `version` of a model."""
        self._client.set_registered_model_alias(name, alias, version)

    def version(self, name: str, alias: str) -> str | None:
        """The version that `alias` names, None when there is none: a cheap question to ask often."""
        try:
            return str(self._client.get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def load(self, name: str, alias: str) -> Loaded | None:
        """The model that `alias` names, its bytes verified; None when the alias names nothing.

        Errors: Tampered when the bytes are not those registered.
        """
        try:
            found = self._client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        with tempfile.TemporaryDirectory() as folder:
            path = self._client.download_artifacts(str(found.run_id), FILE, folder)
            artefact = Path(path).read_bytes()
        expected, digest = found.tags.get("sha256"), sha256(artefact).hexdigest()
        if digest != expected:
            raise Tampered(
                f"model {name} version {found.version}: expected sha256 {expected}, found {digest}; "
                "somebody changed its file: register it again and do not serve this one"
            )
        return Loaded(str(found.version), str(found.tags.get("kind", "")), artefact)

    def _experiment_id(self) -> str:
        if self._experiment is None:
            known = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment = (
                str(known.experiment_id)
                if known
                else str(self._client.create_experiment(EXPERIMENT, self._home()))
            )
        return self._experiment

    def _make(self, file: Path) -> None:
        store = SqlAlchemyStore(f"{SQLITE}{file}", str(self._home()))
        store.engine.dispose()

    def _home(self) -> str | None:
        """Where an SQLite registry keeps its files; a server decides that itself."""
        return None if self._file is None else artefacts_of(self._file)

    def _ensure(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

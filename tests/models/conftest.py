from pathlib import Path

import pytest

from features.plan import Plan
from models.catalogue import Catalogue
from tests.models import cafe


@pytest.fixture
def cafe_plan(tmp_path: Path) -> Plan:
    return cafe.opened(tmp_path / "cafe")[0]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return cafe.opened(tmp_path / "cafe")[1]

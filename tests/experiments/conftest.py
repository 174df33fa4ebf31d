from pathlib import Path

import pytest

from models.catalogue import Catalogue
from tests.models import cafe


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return cafe.opened(tmp_path / "cafe")[1]

"""A need rises and decays; one curve says how much of what it brings about has happened."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.world.needs import KINDS, LONGEST, MARGIN, Curve


@settings(max_examples=15)
@given(st.floats(0.02, 0.9))
def test_its_height_is_one_and_its_part_is_the_integral_of_readiness(rise: float) -> None:
    curve = Curve.of(rise)
    grid = np.linspace(0, LONGEST, 5_001)
    ready = np.array([curve.ready(s) for s in grid])
    assert ready.max() == pytest.approx(1, abs=1e-3)
    assert ready.min() >= 0
    whole = np.concatenate(([0], np.cumsum((ready[1:] + ready[:-1]) / 2)))
    for s in (0.1, 0.5, 1.0, 3.0):
        place = np.searchsorted(grid, s)
        assert curve.part(float(grid[place])) == pytest.approx(whole[place] / whole[-1], abs=5e-3)


@given(st.floats(0.02, 0.9), st.floats(0.001, 0.98))
def test_when_is_the_inverse_of_part(rise: float, part: float) -> None:
    curve = Curve.of(rise)
    assert curve.part(float(curve.when(np.array(part)))) == pytest.approx(part, abs=2e-3)


def test_the_kinds_make_a_whole_and_what_is_spent_is_spread_over_scales() -> None:
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)
    scales = [kind.half_life for kind in KINDS]
    assert scales.count(max(scales)) == 1
    assert min(scales) <= 1_800_000 < 86_400_000 * 7 <= max(scales)
    assert 0 < MARGIN < 1
    spent = np.array([kind.share * kind.price for kind in KINDS])
    scales = [spent[:3].sum(), spent[3:5].sum(), spent[5:].sum()] / spent.sum()
    assert scales == pytest.approx([0.57, 0.28, 0.14], abs=0.006), "as KINDS and docs/world.md say"

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.floats import pack_floats, unpack_floats


@given(arrays(np.float32, st.integers(0, 70), elements=st.floats(width=32) | st.just(0.0)))
def test_every_bit_comes_back(values: np.ndarray) -> None:
    packed = pack_floats(values)
    assert unpack_floats(packed).tobytes() == values.tobytes()
    assert len(packed) <= 1 + 4 * len(values)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a mark"):
        unpack_floats(b"\x07abc")

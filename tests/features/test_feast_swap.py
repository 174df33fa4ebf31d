"""After a change of the playbook Feast reads a state not taken over yet as missing, without error."""

import numpy as np

from features.convert import convert
from features.feast_view import columns
from features.fold import encode
from features.state import parts_of
from features.storage import storage_of
from tests.features.test_convert import FIRST
from tests.features.workshop import AGGREGATES, NOON, folded, plan, sale


def test_a_state_of_the_plan_before_is_missing_until_it_is_taken_over() -> None:
    old, new = plan(AGGREGATES), plan(FIRST)
    blob = encode(old, folded(old, [sale(1, NOON)]))
    blobs = [blob, convert(storage_of(old), new, blob), None]
    parts = [(None, None) if blob is None else parts_of(blob) for blob in blobs]
    recents, settled = zip(*parts, strict=True)
    inputs = {"recent": recents, "settled": settled, "as_of": [NOON + 1] * 3, "watermark": [NOON + 1] * 3}
    found = columns(str(new.playbook.folder), new.digest, inputs)["paid_count_28d"]
    assert np.isnan(found[0])
    assert found[1:] == [1, 0]

"""Tables of members in the page's data."""

from base64 import b64decode

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.atlas.members import packed


@given(st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=20) | st.lists(st.integers(-300, 300), max_size=20))
def test_numbers_are_packed_without_loss(values: list[int]) -> None:
    found = packed(np.array(values, dtype=np.int64))
    raw = np.frombuffer(b64decode(found["data"]), dtype=f"<{found['type'] or 'u1'}").astype(np.float64)
    back = (raw if found["type"] else np.zeros(len(values))) + found["least"]
    assert back.tolist() == values

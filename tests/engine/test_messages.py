"""Every message goes to bytes and back; bytes that are none are refused with one kind of error."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.encoding import DTYPES, Malformed, decode, encode
from engine.messages import Changed, Checkpoint, Rows, Start, Started, Status

floats = st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf])
texts = st.text(max_size=20)
values = st.dictionaries(texts, floats | st.integers(-(2**60), 2**60) | texts, max_size=4)
arrays_of_any = st.sampled_from(DTYPES).flatmap(
    lambda d: arrays(np.dtype(d), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def equal(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@given(texts, st.integers(0, 9), arrays_of_any, arrays_of_any, st.none() | arrays_of_any)
def test_rows_come_back(run, first, steps, readings, coords):
    message = Rows(run, "m", first, steps, readings, coords)
    assert equal(decode(encode(message)), message)


@given(values, st.dictionaries(texts, arrays_of_any, max_size=3), texts, floats)
def test_nested_messages_come_back(given_values, tree, text, rate):
    for message in (
        Checkpoint("r", 3, 0, tree),
        Status("r", "running", 3, text, rate, {"eager": 3}),
        Start("r", text, given_values, {"lr": [0.1, 0.2]}, changes=(Changed("r", 3, "lr", 0.1),)),
        Started(
            "r", text, given_values, {}, tree, (0, 4), 10, "float32", "cpu", "", "", -1, {"a": "b"}, "",
        ),
    ):  # fmt: skip
        assert equal(decode(encode(message)), message)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(blob):
    with pytest.raises(Malformed):
        decode(blob)


@given(st.data())
def test_damaged_messages_are_refused_or_well_formed(data):
    blob = bytearray(encode(Rows("r", "m", 0, np.arange(5), np.ones((5, 2)))))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(blob)))
    for damaged in (bytes(blob), bytes(blob[:cut])):
        try:
            decode(damaged)
        except Malformed:
            pass


def test_objects_do_not_pass():
    with pytest.raises(TypeError, match="do not pass"):
        encode(Rows("r", "m", 0, np.array([object()]), np.ones(1)))


def test_long_arrays_may_stay_where_they_are():
    values = np.arange(40_000, dtype=np.float32).reshape(100, 400)
    for name in ("m", "mm", "mmm", "mmmm", "mmmmm"):  # headers of every length
        blob = encode(Rows("r", name, 0, np.arange(100), values))
        kept, copied = decode(blob, 100_000), decode(blob)
        assert not kept.values.flags.writeable and kept.values.flags.aligned
        assert kept.steps.flags.writeable and copied.values.flags.writeable
        assert np.array_equal(kept.values, values) and np.array_equal(copied.values, values)
        assert np.array_equal(kept.steps, np.arange(100))

"""The fused codec: the bytes of each type, and that both codecs of a record agree on them."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.records import every_record, every_record_with_fields, instances, outcome, some
from zkwire.jute import decode, decode_at, encode, fused, wire
from zkwire.records import ACL, CreateRequest, Id, MultiHeader


def fused_outcome(cls: Any, data: bytes) -> Any:
    """The fused codec alone: its value, or None where it refuses."""
    try:
        return repr(cls._decode(data, 0, len(data))[0])
    except (fused.Unfit, fused.StructError, ValueError):
        return None


@every_record
@some
@given(data=st.data())
def test_fused_encode_equals_construct_build(cls: Any, data: st.DataObject) -> None:
    record = data.draw(instances(cls))
    assert encode(record) == wire.build(record)


@every_record
@some
@given(data=st.data())
def test_both_codecs_decode_what_was_encoded(cls: Any, data: st.DataObject) -> None:
    record = data.draw(instances(cls))
    payload = encode(record)
    assert decode(cls, payload) == record
    assert wire.parse(cls, payload) == record


@every_record
@some
@given(data=st.data())
def test_both_codecs_agree_on_arbitrary_bytes(cls: Any, data: st.DataObject) -> None:
    payload = data.draw(st.binary(max_size=100))
    seen = outcome(wire.parse, cls, payload)
    assert outcome(decode, cls, payload) == seen
    assert fused_outcome(cls, payload) == (seen if isinstance(seen, str) else None)


@every_record_with_fields
@some
@given(data=st.data())
def test_both_codecs_agree_on_changed_bytes(cls: Any, data: st.DataObject) -> None:
    payload = encode(data.draw(instances(cls)))
    place = data.draw(st.integers(0, len(payload) - 1))
    length = st.integers(-(2**31), 2**31 - 1).map(struct.Struct(">i").pack)
    changed = payload[:place] + data.draw(st.binary(max_size=6) | length) + payload[place + 1 :]
    seen = outcome(wire.parse, cls, changed)
    assert outcome(decode, cls, changed) == seen
    assert fused_outcome(cls, changed) == (seen if isinstance(seen, str) else None)


@every_record
@some
@given(data=st.data())
def test_both_codecs_agree_on_bytes_cut_short_with_more_after_them(cls: Any, data: st.DataObject) -> None:
    """The bytes from `end` on belong to the next frame, and not to this record."""
    payload = encode(data.draw(instances(cls)))
    end = data.draw(st.integers(0, len(payload)))
    seen = outcome(wire.parse, cls, payload[:end])
    assert outcome(lambda: decode_at(cls, b"before" + payload, 6, 6 + end)[0]) == seen


@every_record
@some
@given(data=st.data())
def test_decode_at_stops_after_the_record(cls: Any, data: st.DataObject) -> None:
    # Where a trailing boolean was left out, it takes the byte after it: nothing shows that it is missing.
    record = data.draw(instances(cls))
    assume(encode(record) == b"" or record[-1] is not None)
    payload = encode(record)
    assert decode_at(cls, b"xy" + payload + b"next", 2, 2 + len(payload) + 4) == (record, 2 + len(payload))


def test_decode_ignores_bytes_after_the_record() -> None:
    assert decode(MultiHeader, encode(MultiHeader(1, False, 0)) + b"more") == MultiHeader(1, False, 0)


def test_encode_takes_a_list_for_a_vector_and_a_bytearray_for_a_buffer() -> None:
    request = CreateRequest("/a", b"x", (ACL(1, Id("a", "b")),), 0)
    loose = CreateRequest("/a", bytearray(b"x"), [ACL(1, Id("a", "b"))], 0)  # type: ignore[arg-type]
    assert encode(loose) == wire.build(loose) == encode(request)

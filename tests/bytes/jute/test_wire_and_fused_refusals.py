"""The construct codec: it explains bytes field by field, and why bytes or values are refused."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import every_record, every_record_with_fields, instances, outcome, some
from zkwire.jute import decode, encode, wire
from zkwire.records import Id


@every_record
@some
@given(data=st.data())
def test_spans_tile_the_bytes(cls: Any, data: st.DataObject) -> None:
    payload = encode(data.draw(instances(cls)))
    found, error = wire.spans(cls, payload)
    assert error is None
    assert [span.start for span in found] == [0, *(span.end for span in found)][: len(found)]
    assert (found[-1].end if found else 0) == len(payload)


@every_record
@some
@given(data=st.data())
def test_spans_stop_at_the_field_at_which_decode_refuses(cls: Any, data: st.DataObject) -> None:
    payload = encode(data.draw(instances(cls)))
    whole, _ = wire.spans(cls, payload)
    cut = data.draw(st.integers(0, len(payload)))
    found, error = wire.spans(cls, payload[:cut])
    with_error = outcome(decode, cls, payload[:cut])
    if isinstance(with_error, str):
        assert error is None
    else:
        assert error is not None
        assert (error.path, error.offset, error.reason) == with_error
        assert 0 < error.missing <= len(payload) - cut
        assert found == whole[: len(found)]
        assert (whole[len(found)].path, whole[len(found)].start) == (error.path, error.offset)


@every_record_with_fields
@some
@given(data=st.data())
def test_both_codecs_refuse_the_same_records(cls: Any, data: st.DataObject) -> None:
    """One field holds a value of some other type."""
    record = data.draw(instances(cls))
    place = data.draw(st.integers(0, len(record) - 1))
    odd = st.sampled_from([None, True, -1, 2**40, 2**70, 0.5, "x", "\ud800", b"x", (), ("a",), (None,), Id("", "")])
    changed = cls(*record[:place], data.draw(odd), *record[place + 1 :])
    assert outcome(encode, changed) == outcome(wire.build, changed)

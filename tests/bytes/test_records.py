"""Every record of the protocol is equal by its fields, survives copying, and keeps its secrets."""

from __future__ import annotations

from typing import Any

from tests.support.records import every_record


@every_record
def test_record_is_equal_by_class_and_fields(cls: Any) -> None:
    record, same = (cls(*range(len(cls.FIELDS))) for _ in range(2))
    assert record == same
    assert hash(record) == hash(same)
    assert record != tuple(record)
    assert tuple(record) != record

"""A test of many values in one: a thousand cases that take a tenth of a millisecond are one test, not a thousand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def for_each(
    name: str, values: Iterable[T], ids: Callable[[T], object] = str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `pytest.mark.parametrize`, in one test. All values are tried; the error names each one that fails."""
    values = list(values)
    assert values, f"no {name} to test"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def loop(*arguments: Any, **fixtures: Any) -> None:
            errors: dict[object, Exception] = {}
            for value in values:
                try:
                    test(*arguments, **fixtures, **{name: value})
                except Exception as error:
                    errors[ids(value)] = error
            if errors:
                failed = ", ".join(map(str, errors))
                message = f"{len(errors)} of {len(values)} values of {name} fail: {failed}; this is the first"
                raise AssertionError(message) from next(iter(errors.values()))

        signature = inspect.signature(test)
        others = [parameter for parameter in signature.parameters.values() if parameter.name != name]
        loop.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # pytest reads it
        return loop

    return decorate

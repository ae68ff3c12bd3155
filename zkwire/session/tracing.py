"""Calls on_frame so that nothing it does disturbs the session."""

from __future__ import annotations

from collections.abc import Callable

from ..frames import Frame


class Tracer:
    """Calls on_frame. It is not our code, and this may be the middle of a step, so its exception is kept for later."""

    def __init__(self, on_frame: Callable[[Frame], object]) -> None:
        self.on_frame = on_frame
        self._has_raised = False
        self._kept: BaseException | None = None

    def __call__(self, frame: Frame) -> None:
        if not self._has_raised:
            try:
                self.on_frame(frame)
            except BaseException as error:
                self._has_raised, self._kept = True, error

    def raise_kept(self) -> None:
        """Raise the exception, once."""
        if self._kept is not None:
            raised, self._kept = self._kept, None
            raise raised

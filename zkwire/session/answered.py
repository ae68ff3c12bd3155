"""Which of the bytes sent on a connection the server has answered. `last_answered`, and so a lease, follows from it.

Only a sample of the send times is kept, so that this costs little for each request.
"""

from __future__ import annotations

from collections import deque

#: How many send times are kept. There is at most one per 1/24 of the session timeout, so they reach back 3/8 of it.
SENT_TIMES = 10
SENT_TIMES_PER_TIMEOUT = 24


class Answered:
    """When bytes were sent, and when the first reply came to something that was sent at that time or later.

    Times are clock times in seconds. A place is where a frame begins among all bytes of the connection.
    """

    def __init__(self, now: float) -> None:
        self._began = now
        #: A sample of sends as (time, place of the first byte), oldest first, until a reply shows that it has arrived.
        self.sent: deque[tuple[float, int]] = deque(maxlen=SENT_TIMES)
        #: When the next sample is due.
        self.next_noted = now
        self._answers: deque[tuple[float, float]] = deque(maxlen=SENT_TIMES)  # (time of the reply, time of the send)
        self._pings: deque[int] = deque(maxlen=SENT_TIMES)  # the places of those that were not answered yet

    def note_sent(self, place: int, now: float, session_timeout: float) -> None:
        """Bytes are sent now; the first of them is at `place`. Call this only if `now` is at least `next_noted`."""
        self.sent.append((now, place))
        self.next_noted = now + session_timeout / SENT_TIMES_PER_TIMEOUT

    def note_ping(self, place: int) -> None:
        """A ping is queued at this place."""
        self._pings.append(place)

    def note_answer(self, place: int, now: float) -> None:
        """The server has answered the request at this place."""
        sent = self.sent
        while sent and sent[0][1] <= place:
            self._answers.append((now, sent.popleft()[0]))

    def note_pong(self, now: float) -> None:
        """The server has answered the oldest ping."""
        if self._pings:
            self.note_answer(self._pings.popleft(), now)

    def last(self, before: float) -> float:
        """Send time of the newest request or ping that the server had answered by `before`; if there was none, the time
        when the connection began.

        The result is never too late. It may be too early by 1/24 of the session timeout, and by more if `before` is
        more than 3/8 of the session timeout ago.
        """
        for answered, sent in reversed(self._answers):
            if answered <= before:
                return sent
        return self._began

"""What a candidate has seen that shows that a leader may still work, although its znodes are gone.

Two ephemerals stand for a leader: its own znode and the holder. When its session expires, both go in one transaction,
and its lease was over before. When somebody deletes them, the lease may go on for up to T (docs/election-safety.md).
The next candidate cannot ask the servers which of the two it was, but it may have seen one of these signs:

1. Its own contender was deleted, although its session lives; or the directory of a leader's znode that it waited for.
2. The epoch is missing, or is another znode than before, or says that nobody has led, although somebody was waited for.
3. The holder was there without the leader's znode, and went, and the epoch does not say that its leader has finished.
4. The holder went in an earlier transaction than the leader's znode.
5. The epoch says that another candidate has seen such a sign, and how many seconds it had still to wait.

After such a sign no body begins before every possible lease is over. This module only keeps count: times are arguments,
in seconds of one clock. One witness serves all campaigns of an Election, since what one has seen concerns the next.
"""

from __future__ import annotations

import math
import re
from collections import deque

#: What the epoch says: each is followed by the name of the candidate that wrote it. FINISHED: the body has finished.
LEADING, RESIGNED, DELETED, DOUBTFUL = b"leading ", b"resigned ", b"deleted ", b"doubtful "
FINISHED = (RESIGNED, DELETED)
_SECONDS = re.compile(rb" (\d+\.\d{3})\Z")  # how an epoch of DOUBTFUL ends


class Witness:
    """Until when another leader's lease may last, as far as this Election has seen."""

    def __init__(self) -> None:
        #: Until then no body may begin; -inf while nothing was seen.
        self.until = -math.inf
        self._since: int | None = None  # the first zxid at which another candidate's znodes stood
        self._known: deque[tuple[int, float]] = deque(maxlen=64)  # zxids, and when all leases from before each are over
        self._epoch: int | None = None  # the epoch's czxid, when it was last read
        self._is_first = False  # whether the next epoch is the first one ever on this path
        self._whole = False  # whether that epoch has stood since we came
        self._deleted: float | None = None  # what `until` becomes if the epoch does not say that all have finished
        self._went: float | None = None  # when all leases are over that are older than the deletion of our own znode
        self._doubt = b""  # the last epoch of DOUBTFUL that was counted

    @property
    def has_waited(self) -> bool:
        """Whether somebody else came first, ever."""
        return self._since is not None

    def waits(self, zxid: int, until: float) -> None:
        """Somebody else comes first. `zxid` is the newest that the client knows. `until`: when a lease ends that is not
        over now."""
        if self._since is None:
            self._since = zxid
        self._known.append((zxid, until))

    def suspect(self, until: float) -> None:
        """A lease may last until then."""
        self.until = max(self.until, until)

    def was_deleted(self, until: float) -> None:
        """Somebody deleted our contender, or the directory of the leader's znode; a lease that was not over then ends
        by `until`."""
        self._deleted = self._went = until

    def went(self, until: float) -> None:
        """Somebody deleted the znode that we led with. That alone is not a suspicion."""
        self._went = until

    def epoch_is_missing(self, until: float, changed: int | None = None) -> None:
        """The epoch is missing. A leader of ours would have made it, or found it. So it may have been there and was
        deleted, unless nothing has changed in its parent since another candidate was first waited for. `changed`: the
        parent's pzxid, None if it is not known."""
        untouched = changed is not None and self._since is not None and changed <= self._since
        if self._epoch is not None or (self._since is not None and not untouched):
            self.suspect(until)
        self._is_first = self._epoch is None and untouched

    def sees(self, record: bytes, czxid: int, until: float, now: float = math.inf) -> None:
        """The epoch as it was read `now`. `until`: when a lease ends that is not over now."""
        # If the previous epoch was deleted, that was before this one was made, and together with our contender if that
        # was deleted too.
        replaced_until = min((over for zxid, over in self._known if zxid >= czxid), default=until)
        if self._went is not None:
            replaced_until = min(replaced_until, self._went)
            self._went = None
        if self._epoch is not None:
            self._whole = czxid == self._epoch
            if not self._whole:
                self.suspect(replaced_until)
        else:
            self._whole = self._since is not None and czxid <= self._since
        self._epoch = czxid
        is_first, self._is_first = self._is_first, False
        if not self._whole:
            if record == b"" and self._since is not None and not is_first:
                self.suspect(replaced_until)
            if self._deleted is not None:
                self.suspect(self._deleted)
                self._deleted = None
        elif record == b"" or record.startswith(FINISHED):
            self._deleted = None  # all earlier leaders have finished since
        if record.startswith(DOUBTFUL) and record != self._doubt:
            self._doubt = record
            # If each candidate counted it from the start, it would never end where none waits for a whole timeout.
            seconds = _SECONDS.search(record)
            self.suspect(min(until, now + float(seconds[1])) if seconds else until)

    def succeeds(self, record: bytes | None, holder_until: float | None, parted_until: float | None) -> None:
        """A term of ours has begun, after the epoch said `record`; None where its reply was lost.

        Args:
            holder_until: if the holder was found without its leader's znode: when a lease that was not over then ends.
            parted_until: the same, if the holder was deleted before its leader's znode.
        """
        if record is None or record.startswith(LEADING):
            for until in (holder_until, parted_until, self._deleted):
                if until is not None:
                    self.suspect(until)
        self._deleted = None

    def wrote(self, czxid: int) -> None:
        """Our term has written to the epoch, which has this czxid."""
        self._epoch = czxid

    def doubt(self, name: str, seconds: float) -> bytes:
        """What our epoch says while we still have so long to wait. Reading it again raises no new suspicion."""
        self._doubt = DOUBTFUL + f"{name} {seconds + 0.001:.3f}".encode()
        return self._doubt

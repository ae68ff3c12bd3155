"""Signs that a leader may still work although its znodes are gone.

A leader has two ephemerals: the leader's znode and the holder. When its session expires, one transaction deletes both,
and its lease was over by then. When somebody deletes them, the lease may last for up to T (docs/election-safety.md).
The next candidate cannot ask the servers which of the two happened. But it may have seen one of these signs:

1. Somebody has deleted its contender, although its session lives; or the parent of the leader's znode that it waited
   for.
2. The epoch is missing, or is another znode than before, or says that nobody has led, although this candidate has
   waited for somebody.
3. The holder was there without the leader's znode, then it was deleted, and the epoch does not say that its leader has
   finished.
4. The holder was deleted in an earlier transaction than the leader's znode.
5. The epoch says that another candidate has seen such a sign, and how many seconds it still had to wait.

After such a sign no body begins before every possible lease is over. This module only keeps count: times are arguments,
in seconds on one clock. All campaigns of an Election have one witness, since each needs what earlier ones have seen.
"""

from __future__ import annotations

import math
import re
from collections import deque

#: First words of the epoch's data, each followed by the name of the candidate that wrote it. FINISHED: its body has
#: finished.
LEADING, RESIGNED, DELETED, DOUBTFUL = b"leading ", b"resigned ", b"deleted ", b"doubtful "
FINISHED = (RESIGNED, DELETED)
_SECONDS = re.compile(rb" (\d+\.\d{3})\Z")  # the end of a DOUBTFUL epoch


class Witness:
    """Until when another leader's lease may last, as far as this Election has seen."""

    def __init__(self) -> None:
        #: No body may begin before then; -inf before any sign.
        self.until = -math.inf
        self._since: int | None = None  # the first zxid at which we saw another candidate's znodes
        # Zxids at which another candidate came first, each with the time when all leases from before it are over.
        self._known: deque[tuple[int, float]] = deque(maxlen=64)
        self._epoch: int | None = None  # the epoch's czxid, when it was last read
        self._is_first = False  # whether the next epoch is the first one ever on this path
        self._whole = False  # whether the epoch is still the one from when we came
        self._deleted: float | None = None  # what `until` becomes if the epoch does not say that all have finished
        self._older_until: float | None = None  # when all leases from before the deletion of our znode are over
        self._doubt = b""  # the last epoch of DOUBTFUL that was counted

    @property
    def has_waited(self) -> bool:
        """Whether another candidate ever came first."""
        return self._since is not None

    def waits(self, zxid: int, until: float) -> None:
        """Another candidate comes first.

        Args:
            zxid: the newest one that the client knows.
            until: the end of the longest lease that others may have now.
        """
        if self._since is None:
            self._since = zxid
        self._known.append((zxid, until))

    def suspect(self, until: float) -> None:
        """The lease of another leader may last until then."""
        self.until = max(self.until, until)

    def contender_was_deleted(self, until: float) -> None:
        """Somebody has deleted our contender, or the parent of the leader's znode. `until`: the end of the longest
        lease that others may have now."""
        self._deleted = self._older_until = until

    def leaders_znode_was_deleted(self, until: float) -> None:
        """Somebody has deleted the znode with which we led. That alone is not suspicious. `until`: as above."""
        self._older_until = until

    def epoch_is_missing(self, until: float, changed: int | None = None) -> None:
        """The epoch is missing. Every leader of ours creates it or finds it, so somebody may have deleted it. Nobody
        has, if nothing in its parent has changed since we first waited for another candidate.

        Args:
            until: as above.
            changed: the pzxid of the parent; None if it is not known.
        """
        untouched = changed is not None and self._since is not None and changed <= self._since
        if self._epoch is not None or (self._since is not None and not untouched):
            self.suspect(until)
        self._is_first = self._epoch is None and untouched

    def sees(self, record: bytes, czxid: int, until: float, now: float = math.inf) -> None:
        """The epoch as it was read at the time `now`. `until`: as above."""
        # If somebody has deleted the previous epoch, they did so before this one was created. If our contender was
        # deleted too, that was the same deletion.
        replaced_until = min((over for zxid, over in self._known if zxid >= czxid), default=until)
        if self._older_until is not None:
            replaced_until = min(replaced_until, self._older_until)
            self._older_until = None
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
            # Only the seconds that are left count. If each candidate waited for a whole timeout, and gave up before its
            # end, the wait would never end.
            seconds = _SECONDS.search(record)
            self.suspect(min(until, now + float(seconds[1])) if seconds else until)

    def succeeds(self, record: bytes | None, holder_until: float | None, parted_until: float | None) -> None:
        """A term of ours has begun.

        Args:
            record: what the epoch said before it; None if the reply was lost.
            holder_until: if the holder was there without its leader's znode: the end of the longest lease that its
                leader may have had then.
            parted_until: the same, if the holder was deleted in an earlier transaction than its leader's znode.
        """
        if record is None or record.startswith(LEADING):
            for until in (holder_until, parted_until, self._deleted):
                if until is not None:
                    self.suspect(until)
        self._deleted = None

    def wrote(self, czxid: int) -> None:
        """Our term has written the epoch, which has this czxid."""
        self._epoch = czxid

    def doubt(self, name: str, seconds: float) -> bytes:
        """What to write into the epoch when we still have to wait for `seconds`. Reading it again is not
        suspicious."""
        self._doubt = DOUBTFUL + f"{name} {seconds + 0.001:.3f}".encode()
        return self._doubt

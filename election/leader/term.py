"""`Term`: what a body sees of the time in which it leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio

from zkwire import BadVersionError, Check, MultiOperation, NoNodeError, SetData, Stat, ZooKeeperError

from ..ephemeral import SESSION_OVER, synced
from ..errors import LeadershipLostError, NotLeaderError, ProclaimConflict
from .campaign import Predecessor
from .keeper import Keeper
from .states import State


class Term:
    """One time of leading. Made by `Election.lead` and `Election.campaign`.

    Attributes:
        token: the czxid of the leader's znode. Every later term of this path has a higher one, whoever leads: give it
            to what you write to, and let it refuse what comes with a lower one than it has seen (rules P7, P9).
        node: the path of the leader's znode.
        predecessor: how the previous term ended: "resigned"; "expired" (its session); "deleted" (its znode, by somebody
            else; it has finished since); or "none" when nobody led before. Terms of other programs do not count.
        lost: set when leadership ended or came in doubt.
    """

    def __init__(self, keeper: Keeper) -> None:
        self.node = keeper.victory.node
        self.token = keeper.victory.stat.czxid
        self.predecessor: Predecessor = keeper.victory.predecessor
        self.lost = keeper.lost
        self._keeper = keeper
        self._doubtful: bytes | None = None  # what a proclaim wrote, or not, before its connection was lost
        self._proclaiming = trio.Lock()

    def __repr__(self) -> str:
        return f"<Term {self.node} token={self.token:#x} {self.state}>"

    # --- what it is

    @property
    def state(self) -> State:
        """ "leading"; "suspended" while there is no connection but the lease lasts; "lost" while the work ends;
        "resigning"; "resigned" when its znodes are gone, or its session."""
        return self._keeper.state

    @property
    def is_leader(self) -> bool:
        """Whether the lease lasts: False from the moment at which the body is cancelled."""
        return self._keeper.is_leader

    @property
    def was_lost(self) -> bool:
        """Whether leadership was lost, and not resigned."""
        return self._keeper.was_lost

    @property
    def lease_end(self) -> float:
        """Until when nobody else can lead, on the clock of leases (CLOCK_BOOTTIME); inf with `renewal="none"`."""
        return self._keeper.lease.end

    @property
    def deadline(self) -> float:
        """When the body is cancelled, on trio's clock, unless a proof comes before; inf with `renewal="none"`."""
        return self._keeper.deadline

    @property
    def on_renewal(self) -> Callable[[float], object] | None:
        """Called with `lease_end` when that has changed, in the same step; None, the default, for nobody."""
        return self._keeper.on_renewal

    @on_renewal.setter
    def on_renewal(self, call: Callable[[float], object] | None) -> None:
        self._keeper.on_renewal = call

    # --- what a leader does

    async def proclaim(self, data: bytes) -> None:
        """Replace the data of the leader's znode.

        Raises:
            NotLeaderError: the term is over; nothing was written (rule P1).
            ProclaimConflict: somebody else wrote to the znode; nothing was written (rule P2).
            ConnectionLossError: it may have been written; the next proclaim finds out.
        """
        async with self._proclaiming:
            self._must_lead()
            if self._doubtful is not None:
                await self._find_version()
            self._doubtful = data
            try:
                written: list[Stat] = await self._guarded([SetData(self.node, data, self._keeper.version)])
            except BadVersionError:
                await self._find_version()
                raise
            self._keeper.version, self._doubtful = written[0].version, None

    async def guarded(self, operations: Sequence[MultiOperation]) -> list[Any]:
        """A multi that is applied only while this term leads, as a whole or not at all (rule P8). Its results.

        Raises:
            NotLeaderError: the term is over; nothing was applied.
            ConnectionLossError: it may have been applied, as a whole.
            ZooKeeperError: of one of the operations; `index` counts from 0 in yours.
        """
        self._must_lead()
        return await self._guarded(operations)

    async def resign(self) -> None:
        """Give up leadership; the next contender leads at once. Nothing happens the second time.

        In a block of `lead` this cancels the block, whose end releases leadership: only then has its work finished.
        Called inside the block, or in a task that the block waits for, it does not return, unless it is shielded. After
        `campaign` it deletes the znodes at once.
        """
        await self._keeper.resign()

    # --- details

    async def _guarded(self, operations: Sequence[MultiOperation]) -> list[Any]:
        campaign, sent = self._keeper.campaign, trio.current_time()
        try:
            results = await campaign.session.multi([Check(self.node), Check(campaign.plan.paths.holder), *operations])
        except SESSION_OVER as error:
            self._keeper.lose(f"the session is over: {error}")
            raise LeadershipLostError(f"{self.node}: {self.lost.reason}, perhaps after it was applied") from error
        except ZooKeeperError as error:
            if error.index is None:
                raise
            error.index -= 2
            if error.index < 0:
                self._keeper.lose(f"{error.path} was deleted")
                self._must_lead()
            error.results = (error.results or [])[2:]
            raise
        self._keeper.proved(sent)
        return results[2:]

    def _must_lead(self) -> None:
        if self._keeper.resigning or self.state in (State.RESIGNING, State.RESIGNED):
            raise NotLeaderError(f"{self.node}: the term is over, since it was resigned")
        if not self.is_leader:
            self._keeper.check_time()
            raise LeadershipLostError(f"{self.node}: the term is over: {self.lost.reason}")

    async def _find_version(self) -> None:
        """What became of a proclaim that was not answered, or not applied. A write by somebody else raises
        ProclaimConflict once; the next proclaim then replaces it."""
        keeper, session = self._keeper, self._keeper.campaign.session
        try:
            data, stat = await synced(session, self.node, lambda: session.get_data(self.node))
        except NoNodeError:
            keeper.lose(f"{self.node} was deleted")
            self._must_lead()
            raise
        expected, keeper.version = keeper.version, stat.version
        tried, self._doubtful = self._doubtful, None
        if stat.version != expected and (stat.version != expected + 1 or data != tried):
            raise ProclaimConflict(
                f"{self.node}: expected data version {expected}, saw {stat.version}: somebody else wrote to it"
            )

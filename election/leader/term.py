"""`Term`: one time of leading, as the body sees it."""

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
        token: the czxid of the leader's znode. Every later term at this path has a higher one. Send it along with each
            write to another system, and let that system refuse a write with a lower token than it has seen (rules P7,
            P9).
        node: the path of the leader's znode.
        predecessor: how the previous term ended. "resigned": its body returned, or it was resigned. "expired": its
            session expired. "deleted": somebody else deleted its znode; its body has finished since. "none": nobody led
            before. Terms of other programs do not count.
        lost: set when leadership has ended or is in doubt.
    """

    def __init__(self, keeper: Keeper) -> None:
        self.node = keeper.victory.node
        self.token = keeper.victory.stat.czxid
        self.predecessor: Predecessor = keeper.victory.predecessor
        self.lost = keeper.lost
        self._keeper = keeper
        self._doubtful: bytes | None = None  # data of a proclaim whose reply was lost
        self._proclaiming = trio.Lock()

    def __repr__(self) -> str:
        return f"<Term {self.node} token={self.token:#x} {self.state}>"

    # --- what it is

    @property
    def state(self) -> State:
        """ "leading"; "suspended": there is no connection, but the lease lasts; "lost": leadership is over, and the
        body ends; "resigning": the znodes are being deleted; "resigned": they are gone, or the session is over."""
        return self._keeper.state

    @property
    def is_leader(self) -> bool:
        """Whether the body may work; False from the moment at which it is cancelled."""
        return self._keeper.is_leader

    @property
    def was_lost(self) -> bool:
        """Whether leadership was lost, and not resigned."""
        return self._keeper.was_lost

    @property
    def lease_end(self) -> float:
        """Nobody else can lead before then: seconds on the clock of leases (CLOCK_BOOTTIME); inf with
        `renewal="none"`."""
        return self._keeper.lease.end

    @property
    def deadline(self) -> float:
        """When the body is cancelled, on trio's clock, unless a proof comes before; inf with `renewal="none"`."""
        return self._keeper.deadline

    @property
    def on_renewal(self) -> Callable[[float], object] | None:
        """A function that is called with `lease_end` when that has changed, in the same step. Default None: no call."""
        return self._keeper.on_renewal

    @on_renewal.setter
    def on_renewal(self, call: Callable[[float], object] | None) -> None:
        self._keeper.on_renewal = call

    # --- what a leader does

    async def proclaim(self, data: bytes) -> None:
        """Replace the data of the leader's znode.

        Raises:
            NotLeaderError: the term is over; nothing was written (rule P1).
            ProclaimConflict: somebody else has written to the znode; nothing was written now (rule P2).
            ConnectionLossError: it may have been written; the next `proclaim` finds out.
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
        """Apply the operations in one transaction, if this term still leads: all of them or none (rule P8). Returns
        their results.

        Raises:
            NotLeaderError: the term is over; nothing was applied.
            ConnectionLossError: all may have been applied.
            ZooKeeperError: the error of one of the operations; `index` is its place in `operations`, from 0.
        """
        self._must_lead()
        return await self._guarded(operations)

    async def resign(self) -> None:
        """End the term; the next candidate leads at once. The second call does nothing.

        In a block of `lead` this cancels the block, and the term ends when the block has finished. Called inside the
        block, or in a task that the block waits for, it does not return: it is cancelled too. Elsewhere it returns when
        the block has finished. After `campaign()` it deletes the znodes at once.
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
        """Find out whether a proclaim was applied, after its reply was lost or it was refused. If somebody else has
        written, this raises ProclaimConflict once; the next proclaim replaces what they wrote."""
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

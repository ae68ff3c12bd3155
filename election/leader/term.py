"""`Term`: one time of leading, from the first proof to the release of its znodes.

A task of ours keeps it while it lasts: it proves leadership again and again, and ends the term when the lease runs out,
the session expires, or somebody deletes its znodes. Whoever works is told at once; the znodes are released when the
work is over.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, Literal

import trio

from zkwire import (
    BadVersionError,
    BoundClient,
    Check,
    Client,
    EventType,
    KeeperState,
    MultiOperation,
    NoNodeError,
    SetData,
    Stat,
    ZkwireError,
    ZooKeeperError,
)

from ..clocks import Clocks
from ..ephemeral import SESSION_OVER, UNCERTAIN, read_write, synced
from ..errors import LeadershipLostError, NotLeaderError, ProclaimConflict
from .campaign import Campaign, Predecessor, Victory
from .lease import PROOF_INTERVAL, Lease
from .overrun import Action, HardDeadline
from .states import State

Renewal = Literal["commit", "ping", "none"]

OUT_OF_TIME = "no proof of leadership within the lease"
#: Seconds by which a time may miss itself on its way from one clock to the other.
ROUNDING = 1e-6


class Lost:
    """The end of a term, as an event: `await term.lost`, `await term.lost.wait()`, `term.lost.is_set()`."""

    def __init__(self) -> None:
        self._event = trio.Event()
        #: What ended it; empty before.
        self.reason = ""

    def is_set(self) -> bool:
        """Whether it is over."""
        return self._event.is_set()

    async def wait(self) -> str:
        """The reason, when it is over."""
        await self._event.wait()
        return self.reason

    def __await__(self) -> Generator[Any, Any, str]:
        return self.wait().__await__()

    def set(self, reason: str) -> None:
        """Called by the term."""
        self.reason = reason
        self._event.set()


class Term:
    """One time of leading. Made by `Election.lead` and `Election.campaign`.

    Attributes:
        token: the czxid of the leader's znode. Every later term of this path has a higher one, whoever leads: give it
            to what you write to, and let it refuse what comes with a lower one than it has seen (rules P7, P9).
        node: the path of the leader's znode.
        predecessor: how the previous term ended: "resigned"; "expired" (its session); "deleted" (its znode, by somebody
            else; it has finished since); or "none" when nobody led before. Terms of other programs do not count.
        lost: set when leadership ended or came in doubt.
        on_renewal: called with `lease_end` when that grows, in the same step. For whoever keeps a deadline elsewhere.
    """

    def __init__(
        self,
        zk: Client,
        campaign: Campaign,
        victory: Victory,
        *,
        renewal: Renewal,
        lease: Lease,
        clocks: Clocks,
        overrun: Action,
    ) -> None:
        self.node = victory.node
        self.token = victory.stat.czxid
        self.predecessor: Predecessor = victory.predecessor
        self.lost = Lost()
        self.on_renewal: Callable[[float], object] | None = None
        self._client = zk
        self._session = campaign.session
        self._campaign = campaign
        self._holder = campaign.plan.paths.holder
        self._watch = victory.watch
        self._version = victory.stat.version
        self._doubtful: bytes | None = None  # what a proclaim wrote, or not, before its connection was lost
        self._proclaiming = trio.Lock()
        self._renewal = renewal
        self._lease = lease
        self._clocks = clocks
        self._last_proof = victory.sent
        self._progress = campaign.progress
        self._scope: trio.CancelScope | None = None  # the body's
        self._keeper = trio.CancelScope()
        self._resigning = False  # asked to
        self._was_lost = False
        self._finished = trio.Event()
        self._gate = _BeforeEachTurn(self)
        self._overrun = HardDeadline(
            f"the leader of {campaign.plan.paths.path}", overrun, clocks.boottime, lease.timeout * PROOF_INTERVAL
        )
        self._body_task: trio.lowlevel.Task | None = None
        self._nurseries_around: list[trio.Nursery] = []  # that were open in that task when the body began
        self._renewal_came = trio.Event()  # set, and replaced, when the lease may have grown or the term is lost
        if renewal != "none":
            # Started before the body: on a busy machine a thread may take long to start, while the body's lease runs.
            self._overrun.start()
        self._forget_closer = zk.before_close(self._close)
        trio.lowlevel.add_instrument(self._gate)
        trio.lowlevel.spawn_system_task(self._keep)

    def __repr__(self) -> str:
        return f"<Term {self.node} token={self.token:#x} {self.state}>"

    # --- what it is

    @property
    def state(self) -> State:
        """ "leading"; "suspended" while there is no connection but the lease lasts; "lost" while the work ends;
        "resigning"; "resigned" when its znodes are gone, or its session."""
        state = self._progress.state
        return State.LOST if state in (State.LEADING, State.SUSPENDED) and self._is_over_time() else state

    @property
    def is_leader(self) -> bool:
        """Whether the lease lasts: False from the moment at which the body is cancelled."""
        return self.state in (State.LEADING, State.SUSPENDED)

    @property
    def lease_end(self) -> float:
        """Until when nobody else can lead, on the clock of leases (CLOCK_BOOTTIME); inf with `renewal="none"`."""
        return math.inf if self._renewal == "none" else self._lease.end

    @property
    def deadline(self) -> float:
        """When the body is cancelled, on trio's clock, unless a proof comes before."""
        return math.inf if self._renewal == "none" else self._clocks.trio(self._lease.cancel_at)

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
                written: list[Stat] = await self._guarded([SetData(self.node, data, self._version)])
            except BadVersionError:
                await self._find_version()
                raise
            self._version, self._doubtful = written[0].version, None

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

        In a block of `lead` this cancels the block, whose end releases leadership: only then has its work finished. In
        the block itself, and in tasks that it waits for, this does not return, unless they are shielded. After
        `campaign` it says that the work is over: the znodes go now.
        """
        self._resigning = True
        if self._scope is not None:
            self._scope.cancel()
            if self.is_inside():
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await self._finished.wait()
        else:
            with trio.CancelScope(shield=True):
                await self._finish()
            await trio.lowlevel.checkpoint_if_cancelled()

    # --- for Election

    def _body(self) -> trio.CancelScope:
        """The scope that the body runs in; from now on there is a hard deadline too."""
        self._scope = trio.CancelScope()
        self._body_task = trio.lowlevel.current_task()
        self._nurseries_around = list(self._body_task.child_nurseries)
        self._renewed()
        if self.lost.is_set():
            self._scope.cancel()
        return self._scope

    def _lead(self) -> None:
        """A body may begin now."""
        self._progress.become(State.LEADING)
        if self._client.state is not KeeperState.SYNC_CONNECTED:
            self._progress.become(State.SUSPENDED)

    async def _has_enough(self) -> bool:
        """Wait until enough of the lease is left for a body to begin (`Lease.least`). True then; False when the term is
        lost before that."""
        while not self.lost.is_set():
            if self._renewal == "none" or self._lease.end - self._clocks.boottime() >= self._lease.least:
                return True
            await self._renewal_came.wait()
        return False

    def is_inside(self) -> bool:
        """Whether the body cannot finish before the running task goes on: it is the body's own, or one in a nursery
        that the body has opened."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        nursery: trio.Nursery | None = None  # on the way up from the running task
        while task is not None and task is not self._body_task:
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return task is not None and nursery not in self._nurseries_around

    @property
    def was_lost(self) -> bool:
        """Whether it ended before anybody had it end."""
        return self._was_lost or self._session.expired  # which the body may have met first

    @property
    def resignation_asked(self) -> bool:
        return self._resigning

    async def _finish(self) -> None:
        """The body has finished: release the znodes. To be called in a shielded scope; a second call waits for the
        first."""
        if not self._progress.become(State.RESIGNING):
            await self._finished.wait()
            return
        self._overrun.stop()
        if not self.lost.is_set():
            self.lost.set("resigned")
        self._renewal_came.set()
        with suppress(KeyError):
            trio.lowlevel.remove_instrument(self._gate)
        self._forget_closer()
        self._keeper.cancel()
        try:
            await self._campaign.resign(self.node, self._version)
        finally:
            self._watch.disarm()  # in vain where it has seen the end of its znode
            self._progress.become(State.RESIGNED)
            self._finished.set()

    def _lose(self, reason: str) -> None:
        """Leadership is over, or in doubt. Whoever works is told; the znodes stay until the work has finished."""
        if not self._progress.become(State.LOST):  # before anybody hears of it (rule L10)
            return
        self._was_lost = True
        self.lost.set(reason)
        self._renewal_came.set()
        if self._scope is not None:
            self._scope.cancel()

    def _check(self) -> None:
        """Called between any two turns of trio's loop: no step begins after the deadline (rules L4, L13)."""
        self._clocks.sample()
        if self._is_over_time():
            self._lose(OUT_OF_TIME)

    async def _close(self) -> None:
        """The client is about to close the session, and with it would go our znodes: the work ends first (rule R5)."""
        if self._scope is None:
            await self._finish()
            return
        self._lose("the client is being closed")
        if not self.is_inside():  # what the body itself closes cannot wait for it
            with trio.move_on_at(self._clocks.trio(min(self.lease_end, self._clocks.boottime() + self._lease.timeout))):
                await self._finished.wait()

    # --- the keeper

    async def _keep(self) -> None:
        """Until the term is finished."""
        with self._keeper:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ended_by, self._until_deleted)
                nursery.start_soon(self._ended_by, self._until_disproved)
                nursery.start_soon(self._ended_by, self._until_session_over)
                nursery.start_soon(self._until_deadline)

    async def _ended_by(self, keeping: Callable[[], Awaitable[str]]) -> None:
        try:
            self._lose(await keeping())
        except SESSION_OVER as error:
            self._lose(f"the session is over: {error}")
        except ZkwireError as error:
            self._lose(f"the proof of leadership failed: {error}")

    async def _until_deleted(self) -> str:
        event = await self._watch.wait()
        if event.type == EventType.NODE_DELETED:
            return f"{self.node} was deleted"
        state = KeeperState(event.state).name
        return f"the session is over: {state}"

    async def _until_disproved(self) -> str:
        if self._renewal == "none":
            await trio.sleep_forever()
        sent = self._last_proof
        while True:
            await trio.sleep_until(sent + self._lease.timeout * PROOF_INTERVAL)
            await read_write(self._client)
            sent = trio.current_time()
            try:
                if self._renewal == "commit":
                    await self._session.multi([Check(self.node), Check(self._holder)])
                elif await self._session.exists(self.node) is None:
                    return f"{self.node} was deleted"
            except NoNodeError as error:
                return f"{error.path} was deleted"
            except UNCERTAIN:
                continue
            self._proved(sent)

    async def _until_session_over(self) -> str:
        states = self._client.states()
        try:
            async for state in states:
                if self._session.expired:
                    return "the session has expired"
                if state is KeeperState.SYNC_CONNECTED:
                    self._reconnected()
                else:
                    self._progress.become(State.SUSPENDED)
        finally:
            await states.aclose()
        return "the client is closed"

    async def _until_deadline(self) -> None:
        while not self.lost.is_set():
            await trio.sleep_until(self.deadline + ROUNDING)
            self._check()

    def _proved(self, sent: float) -> None:
        """A request that was sent at `sent`, on trio's clock, has shown that we lead."""
        clocks, lease = self._clocks, self._lease
        if self._renewal == "commit":
            count_proof(lease, clocks, self._session, sent)
        else:
            lease.answered(clocks.boot(sent))
        self._resume()
        self._renewed()

    def _renewed(self) -> None:
        """The lease may have another end."""
        if self._scope is not None:
            self._scope.deadline = self.deadline
            self._overrun.end = self.lease_end
        self._renewal_came.set()
        self._renewal_came = trio.Event()
        if self.on_renewal is not None:
            self.on_renewal(self.lease_end)

    def _reconnected(self) -> None:
        """The session is on a connection again, perhaps with another timeout (rule L3)."""
        connected = self._session.last_answered(-math.inf)  # by then nothing but the ConnectRequest can have been
        if connected is not None and self._client.session_timeout != self._lease.timeout:
            self._lease.renegotiated(self._client.session_timeout, self._clocks.boot(connected))
            self._renewed()
        if self._renewal == "none":
            self._resume()

    # --- details

    async def _guarded(self, operations: Sequence[MultiOperation]) -> list[Any]:
        sent = trio.current_time()
        try:
            results = await self._session.multi([Check(self.node), Check(self._holder), *operations])
        except SESSION_OVER as error:
            self._lose(f"the session is over: {error}")
            raise LeadershipLostError(f"{self.node}: {self.lost.reason}, perhaps after it was applied") from error
        except ZooKeeperError as error:
            if error.index is None:
                raise
            error.index -= 2
            if error.index < 0:
                self._lose(f"{error.path} was deleted")
                self._must_lead()
            error.results = (error.results or [])[2:]
            raise
        self._proved(sent)
        return results[2:]

    def _must_lead(self) -> None:
        if self._resigning or self._progress.state in (State.RESIGNING, State.RESIGNED):
            raise NotLeaderError(f"{self.node}: the term is over, since it was resigned")
        if not self.is_leader:
            self._check()
            raise LeadershipLostError(f"{self.node}: the term is over: {self.lost.reason}")

    async def _find_version(self) -> None:
        """What became of a proclaim that was not answered, or not applied. A foreign write is told of once; the next
        proclaim then replaces it."""
        try:
            data, stat = await synced(self._session, self.node, lambda: self._session.get_data(self.node))
        except NoNodeError:
            self._lose(f"{self.node} was deleted")
            self._must_lead()
            raise
        expected, self._version = self._version, stat.version
        tried, self._doubtful = self._doubtful, None
        if stat.version != expected and (stat.version != expected + 1 or data != tried):
            raise ProclaimConflict(
                f"{self.node}: expected data version {expected}, saw {stat.version}: somebody else wrote to it"
            )

    def _is_over_time(self) -> bool:
        return self._renewal != "none" and self._clocks.boottime() >= self._lease.cancel_at - ROUNDING

    def _resume(self) -> None:
        if self._progress.state is State.SUSPENDED:
            self._progress.become(State.LEADING)


def count_proof(lease: Lease, clocks: Clocks, session: BoundClient, sent: float) -> bool:
    """Count a commit that was sent at `sent` and has just been answered; whether it counted."""

    def last_answered(before: float) -> float | None:
        # A suspend between the two makes this too early, and never too late.
        heard = session.last_answered(sent - before)
        return None if heard is None else clocks.boot(heard)

    return lease.committed(clocks.boot(sent), clocks.boot(trio.current_time()), last_answered)


class _BeforeEachTurn(trio.abc.Instrument):
    """Looks at the clock of leases whenever trio's loop has waited, before any task goes on: also after a suspend,
    during which trio's own deadlines stood still, and after the process was stopped."""

    def __init__(self, term: Term) -> None:
        self._term = term

    def after_io_wait(self, timeout: float) -> None:
        self._term._check()

"""`Keeper`: keeps one term, from the won campaign to the deletion of its znodes.

Its tasks prove leadership again and again. They end the term when the lease is over, the session is over, or somebody
deletes one of the two znodes. Then the body is cancelled. The znodes are deleted when the body has finished.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from zkwire import EventType, KeeperState, NoNodeError, ZkwireError

from ..clocks import BootClock
from ..ephemeral import SESSION_OVER, UNCERTAIN, read_write
from ..errors import LeadershipLostError
from .campaign import Campaign, Victory
from .lease import Lease
from .overrun import Action, HardDeadline
from .states import State

OUT_OF_TIME = "no proof of leadership within the lease"
#: Seconds by which a time may change on its way from one clock to the other and back.
ROUNDING = 1e-6


class Lost:
    """The end of a term, as an event: `await term.lost`, `await term.lost.wait()`, `term.lost.is_set()`."""

    def __init__(self) -> None:
        self._event = trio.Event()
        #: What ended the term; empty while it lasts.
        self.reason = ""

    def is_set(self) -> bool:
        """Whether the term is over."""
        return self._event.is_set()

    async def wait(self) -> str:
        """Wait until the term is over; returns the reason."""
        await self._event.wait()
        return self.reason

    def __await__(self) -> Generator[Any, Any, str]:
        return self.wait().__await__()

    def set(self, reason: str) -> None:
        """Called by the keeper."""
        self.reason = reason
        self._event.set()


class Keeper:
    """Keeps one term.

    Attributes:
        campaign, victory: the campaign, and how it was won.
        version: the data version of the leader's znode, as far as it is known.
        lease: how long nobody else can lead.
        lost: set when leadership has ended or is in doubt.
        on_renewal: called with the end of the lease when that has changed, if not None.
        resigning: whether the caller has asked to end the term.
    """

    def __init__(self, campaign: Campaign, victory: Victory, lease: Lease, clock: BootClock, overrun: Action) -> None:
        self.campaign = campaign
        self.victory = victory
        self.version = victory.stat.version
        self.lease = lease
        self.lost = Lost()
        self.on_renewal: Callable[[float], object] | None = None
        self.resigning = False
        self._clock = clock
        self._was_lost = False
        self._finished = trio.Event()
        self._scope = trio.CancelScope()  # the body's; without one, that of `_until_out_of_time`
        self._body_task: trio.lowlevel.Task | None = None
        self._nurseries_around: list[trio.Nursery] = []  # those that were open in that task when the body began
        self._keeping = trio.CancelScope()
        self._before_each_turn = _BeforeEachTurn(self)
        self._moved = trio.Event()  # set, and replaced, when the lease may have grown or the term is over
        who = f"the leader of {campaign.plan.paths.path}"
        self._hard_deadline = HardDeadline(who, overrun, clock.boottime, lease.interval)

    def start(self, *, with_body: bool) -> None:
        """Keep the term from now on. `with_body`: whether a block works, which is to be cancelled; else only `lost` is
        set."""
        self.proved(self.victory.sent)
        if with_body and self.lease.is_renewed:
            # Before the body begins: on a busy machine a thread may take long to start, while the lease runs.
            self._hard_deadline.start()
        self._forget_closer = self.campaign.plan.client.before_close(self._close)
        trio.lowlevel.add_instrument(self._before_each_turn)
        trio.lowlevel.spawn_system_task(self._keep, with_body)

    # --- what it is

    @property
    def state(self) -> State:
        """The state of the campaign; LOST from the deadline on, even if no task has run since."""
        return State.LOST if self._is_out_of_time() else self.campaign.progress.state

    @property
    def is_leader(self) -> bool:
        return self.state in (State.LEADING, State.SUSPENDED)

    @property
    def deadline(self) -> float:
        """When the body is cancelled, on trio's clock, unless a proof comes before."""
        return self._clock.in_trio(self.lease.cancel_at)

    @property
    def was_lost(self) -> bool:
        """Whether the term ended before the caller ended it."""
        return self._was_lost or self.campaign.session.expired  # the body may have heard of that first

    # --- its beginning and its end

    async def until_due(self, earliest: float) -> bool:
        """Wait until the body may begin: at `earliest` (trio's clock), and when enough of the lease is left.

        Before that, nothing happens at the end of the lease: nobody works yet, and the next proof renews it.

        Returns False if the term was lost meanwhile; then it has ended.
        """

        def is_due() -> bool:
            return trio.current_time() >= earliest and self.lease.end - self._clock.boottime() >= self.lease.least

        due = is_due()
        try:
            if not due:
                self.campaign.progress.become(State.WAITING)
            while not due and not self.lost.is_set():
                with trio.move_on_at(earliest if trio.current_time() < earliest else math.inf):
                    await self._moved.wait()
                due = not self.lost.is_set() and is_due()
        finally:
            if not due:
                with trio.CancelScope(shield=True):
                    await self.finish()
        if due:
            self.campaign.body_has_begun = True
            self.campaign.progress.become(State.LEADING)
            if self.campaign.plan.client.state is not KeeperState.SYNC_CONNECTED:
                self.campaign.progress.become(State.SUSPENDED)
            self._renewed()
        return due

    @asynccontextmanager
    async def body(self) -> AsyncIterator[None]:
        """The block that works while the term lasts. The term ends when the block has finished, however it ends.

        Raises:
            LeadershipLostError: the block was cancelled.
        """
        self._body_task = trio.lowlevel.current_task()
        self._nurseries_around = list(self._body_task.child_nurseries)
        try:
            with self._scope:
                yield
        finally:
            if self._scope.cancel_called and not self.resigning:
                self.lose(OUT_OF_TIME)  # unless there is another reason already
            with trio.CancelScope(shield=True):
                await self.finish()
        if self._scope.cancelled_caught and not self.resigning:
            raise LeadershipLostError(f"{self.victory.node}: {self.lost.reason}")

    def lose(self, reason: str) -> None:
        """Leadership is over, or in doubt. The body is cancelled; the znodes stay until it has finished."""
        if not self.campaign.progress.become(State.LOST):  # before anybody hears of it (rule L10)
            return
        self._was_lost = True
        self.lost.set(reason)
        self._tell_moved()
        self._scope.cancel()

    async def resign(self) -> None:
        """End the term for the caller: see `Term.resign`."""
        self.resigning = True
        if self._body_task is None:
            with trio.CancelScope(shield=True):
                await self.finish()
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._scope.cancel()
            if self._is_inside():
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await self._finished.wait()

    async def finish(self) -> None:
        """The body has finished: delete the znodes. To be called in a shielded scope; a second call waits for the
        first."""
        if not self.campaign.progress.become(State.RESIGNING):
            await self._finished.wait()
            return
        self._hard_deadline.stop()
        if not self.lost.is_set():
            self.lost.set("resigned")
        self._tell_moved()
        with suppress(KeyError):
            trio.lowlevel.remove_instrument(self._before_each_turn)
        self._forget_closer()
        self._keeping.cancel()
        try:
            await self.campaign.resign(self.victory.node, self.version)
        finally:
            self.victory.watch.disarm()  # does nothing if it has fired
            self.campaign.progress.become(State.RESIGNED)
            self._finished.set()

    async def _close(self) -> None:
        """The client is about to close the session, which deletes our znodes. So the body must end first (rule R5)."""
        if self._body_task is None:
            await self.finish()
            return
        self.lose("the client is being closed")
        if not self._is_inside():  # a body that closes the client cannot finish before that
            end = min(self.lease.end, self._clock.boottime() + self.lease.timeout)
            with trio.move_on_at(self._clock.in_trio(end)):
                await self._finished.wait()

    def _is_inside(self) -> bool:
        """Whether the body waits for the running task: that is the body's own task, or a task in a nursery that the
        body has opened."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        nursery: trio.Nursery | None = None  # on the way up from the running task
        while task is not None and task is not self._body_task:
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return task is not None and nursery not in self._nurseries_around

    # --- the lease

    def proved(self, sent: float) -> None:
        """A request sent at `sent`, on trio's clock, has just shown that we lead."""

        def last_answered(before: float) -> float | None:
            # A suspend between the two makes this too early, never too late.
            heard = self.campaign.session.last_answered(sent - before)
            return None if heard is None else self._clock.at(heard)

        self._clock.sample()
        self.lease.proved(self._clock.at(sent), self._clock.at(trio.current_time()), last_answered)
        if self.campaign.progress.state is State.SUSPENDED:
            self.campaign.progress.become(State.LEADING)
        self._renewed()

    def check_time(self) -> None:
        """Called before each turn of trio's loop, so that no step begins after the deadline (rules L4, L13)."""
        self._clock.sample()
        if self._is_out_of_time():
            self.lose(OUT_OF_TIME)

    def _renewed(self) -> None:
        """The end of the lease may have changed."""
        if self.campaign.body_has_begun:
            self._scope.deadline = self.deadline
            self._hard_deadline.end = self.lease.end
        self._tell_moved()
        if self.on_renewal is not None:
            self.on_renewal(self.lease.end)

    def _tell_moved(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    def _is_out_of_time(self) -> bool:
        """Whether the deadline has come, and the term is not lost yet."""
        leads = self.campaign.progress.state in (State.LEADING, State.SUSPENDED)
        return leads and self._clock.boottime() >= self.lease.cancel_at - ROUNDING

    # --- the tasks

    async def _keep(self, with_body: bool) -> None:
        """Run the tasks until the term is over."""
        with self._keeping:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._lost_after, self._until_deleted)
                nursery.start_soon(self._lost_after, self._until_disproved)
                nursery.start_soon(self._lost_after, self._until_session_over)
                if not with_body:
                    nursery.start_soon(self._lost_after, self._until_out_of_time)

    async def _lost_after(self, keeping: Callable[[], Awaitable[str]]) -> None:
        try:
            self.lose(await keeping())
        except SESSION_OVER as error:
            self.lose(f"the session is over: {error}")
        except ZkwireError as error:
            self.lose(f"the proof of leadership failed: {error}")

    async def _until_deleted(self) -> str:
        event = await self.victory.watch.wait()
        if event.type == EventType.NODE_DELETED:
            return f"{self.victory.node} was deleted"
        return f"the session is over: {KeeperState(event.state).name}"

    async def _until_disproved(self) -> str:
        sent, paths = self.victory.sent, self.campaign.plan.paths
        while True:
            await trio.sleep_until(sent + self.lease.interval)
            await read_write(self.campaign.plan.client)
            sent = trio.current_time()
            try:
                await self.lease.prove(self.campaign.session, self.victory.node, paths.holder)
            except NoNodeError as error:
                return f"{error.path} was deleted"
            except UNCERTAIN:
                continue
            self.proved(sent)

    async def _until_session_over(self) -> str:
        states = self.campaign.plan.client.states()
        try:
            async for state in states:
                if self.campaign.session.expired:
                    return "the session has expired"
                if state is KeeperState.SYNC_CONNECTED:
                    self._reconnected()
                else:
                    self.campaign.progress.become(State.SUSPENDED)
        finally:
            await states.aclose()
        return "the client is closed"

    def _reconnected(self) -> None:
        """The session is on a connection again, perhaps with another timeout (rule L3)."""
        connected = self.campaign.session.last_answered(-math.inf)  # when the ConnectRequest was sent
        timeout = self.campaign.plan.client.session_timeout
        if connected is not None and timeout != self.lease.timeout:
            self.lease.renegotiated(timeout, self._clock.at(connected))
            self._renewed()
        if not self.lease.is_renewed and self.campaign.progress.state is State.SUSPENDED:
            self.campaign.progress.become(State.LEADING)  # without waiting for a proof

    async def _until_out_of_time(self) -> str:
        """Wait until the deadline, which `_renewed` moves. Only for a term without a body."""
        with self._scope:
            await trio.sleep_forever()
        return OUT_OF_TIME


class _BeforeEachTurn(trio.abc.Instrument):
    """Looks at the clock of leases after each wait of trio's loop, before any task runs. So it also looks after a
    suspend, during which trio's own deadlines do not come, and after a stop (SIGSTOP)."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def after_io_wait(self, timeout: float) -> None:
        self._keeper.check_time()

"""`Election`: take part in an election, or look at it."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

import trio

from zkwire import ACL, OPEN_ACL_UNSAFE, Client, SessionExpiredError, StateStream

from .. import clocks
from ..ephemeral import path_problem
from ..errors import CampaignTimeout, ElectionError, LeadershipLostError
from .campaign import Plan, Victory
from .dialects import DIALECTS
from .keeper import Keeper
from .lease import LEASES, LONGEST_GRACE, Lease, Renewal
from .observer import Contender, Leader, LeaderStream, Observer
from .overrun import Action
from .paths import ElectionPaths, Mode
from .queue import SequentialCampaign
from .single import SimpleCampaign
from .states import Progress, State
from .term import Term
from .witness import Witness

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup  # trio depends on it there

T = TypeVar("T")

CAMPAIGNS: dict[Mode, type[SequentialCampaign] | type[SimpleCampaign]] = {
    "sequential": SequentialCampaign,
    "simple": SimpleCampaign,
}
#: How many states are kept for a slow reader of `Election.states`.
MAX_BUFFERED_STATES = 64
#: Errors of a body that has lost leadership.
_LOSSES = (LeadershipLostError, SessionExpiredError)


class Election:
    """One election, on one client. It can lead any number of times, but only once at a time.

        async with election.lead() as term: ...     # waits for its turn; is cancelled when leadership is in doubt
        await election.run(body)                    # the same, again after each loss, until body returns

    Attributes:
        path: the election's path.
        mode: "sequential" or "simple".
    """

    def __init__(
        self,
        zk: Client,
        path: str,
        data: bytes = b"",
        *,
        mode: Mode = "sequential",
        dialect: str = "native",
        renewal: Renewal = "commit",
        acl: Sequence[ACL] = OPEN_ACL_UNSAFE,
        mixed: Literal["raise", "warn"] = "raise",
        takeover_delay: float = 0.0,
        jitter: float = 0.0,
        grace: float | None = None,
        overrun: Action = "exit",
        boottime: Callable[[], float] = clocks.boottime,
    ) -> None:
        """
        Args:
            zk: the client. After a leader crashes, its session timeout T must pass before another can lead.
            path: in mode "sequential" the parent of the contenders, in mode "simple" the leader's znode. Missing
                parents are created. Two more znodes are created beside it (see `election.leader.paths`), so candidates
                must be allowed to create and delete znodes there.
            data: the data of the contender or of the leader's znode, to identify this candidate.
            mode: "sequential" is fair: candidates lead in the order in which they came, and each hand-over wakes only
                one. "simple" has one znode; the candidate that creates it leads.
            dialect: how contenders are named in mode "sequential": "native" (contends with Curator's LeaderSelector and
                InterProcessMutex and with go-zookeeper), "curator-latch" (LeaderLatch), "kazoo".
            renewal: what renews the lease. "commit": a committed check of its znodes each T/16; safe. "ping": a read
                each T/16. A server also answers it while it is cut off from the others, and then two leaders are
                possible. "none": there is no lease; leadership lasts until the client hears that it is over. By then
                another leader may have begun up to T/3 ago, and a process that is stopped does not hear it at all.
            acl: of all znodes that are created here.
            mixed: what to do if there are contenders of another dialect: "raise" MixedDialect, or "warn" and go on at
                the risk of two leaders.
            takeover_delay: seconds to wait before leading, if the previous leader did not resign.
            jitter: in mode "simple" the longest time, in seconds, that a candidate waits before it tries to create the
                free znode. The time is random.
            grace: seconds for the body to finish, from its cancellation to the end of the lease; T/6 by default, T/3
                at most.
            overrun: what to do if the body still runs at the end of the lease: see
                `election.leader.overrun.HardDeadline`.
            boottime: reads the clock of leases, in seconds; it must run while the machine is suspended. The default
                does so on Linux, OpenBSD, macOS and Windows. On any other system it may not, and then a suspend is not
                covered: a leader that wakes up believes in its lease for as long as it did before, while another may
                lead already. Only fencing with the token helps there.

        Raises:
            ValueError: an argument has the wrong type or is out of range.
        """
        for name, value, fits, wanted in (
            ("zk", zk, isinstance(zk, Client), "a zkwire.Client, as zkwire.connect gives one"),
            ("path", path, path == "/" or path_problem(path) is None, f"the path of a znode: {path_problem(path)}"),
            ("data", data, isinstance(data, bytes), "bytes; a str can be given as text.encode()"),
            ("mode", mode, mode in ("sequential", "simple"), "'sequential' or 'simple'"),
            ("dialect", dialect, isinstance(dialect, str) and dialect in DIALECTS, f"one of {', '.join(DIALECTS)}"),
            ("renewal", renewal, renewal in ("commit", "ping", "none"), "'commit', 'ping' or 'none'"),
            ("acl", acl, _is_acl(acl), "a list or tuple of zkwire.ACL, not empty"),
            ("mixed", mixed, mixed in ("raise", "warn"), "'raise' or 'warn'"),
            ("takeover_delay", takeover_delay, _is_duration(takeover_delay), "seconds, 0 or more"),
            ("jitter", jitter, _is_duration(jitter), "seconds, 0 or more"),
            ("grace", grace, grace is None or _is_duration(grace), "None, or seconds, 0 or more"),
            (
                "overrun",
                overrun,
                overrun in ("exit", "raise", "ignore") or callable(overrun),
                "'exit', 'raise', 'ignore' or a function",
            ),
            ("boottime", boottime, callable(boottime), "a function that gives seconds"),
        ):
            if not fits:
                kind = type(value).__name__
                seen = kind if name in ("zk", "data", "acl") else f"{kind} {value!r:.80}"  # no secrets
                raise ValueError(f"Election: {name} must be {wanted}; got {seen}")
        self.path = path
        self.mode: Mode = mode
        self._client = zk
        self._renewal: Renewal = renewal
        self._takeover_delay = takeover_delay
        self._grace = grace
        self._overrun = overrun
        self._clock = clocks.BootClock(boottime)
        self._witness = Witness()
        self._plan = Plan(
            client=zk,
            paths=ElectionPaths.of(path, mode),
            data=data,
            dialect=DIALECTS[dialect],
            acl=tuple(acl),
            mixed=mixed,
            jitter=jitter,
            witness=self._witness,
        )
        self._observer = Observer(zk, self._plan.paths, mode, DIALECTS[dialect])
        self._progress = Progress(self._tell)  # of the last call of lead or campaign
        # Weak, since a reader that breaks out of its loop does not close its stream.
        self._streams: weakref.WeakSet[StateStream[State]] = weakref.WeakSet()
        self._term: Term | None = None  # that of `campaign`
        self._busy = False  # whether it campaigns, or leads in a block

    # --- leading

    @asynccontextmanager
    async def lead(self, timeout: float | None = None) -> AsyncIterator[Term]:
        """Wait for the turn, and lead while the block runs.

        The block is cancelled when leadership is over or in doubt, early enough to finish before another leader can
        exist. The znodes are deleted when the block has finished, however it ends.

        Args:
            timeout: seconds to wait for the turn. None: for ever. 0: not to wait for other candidates.

        Raises:
            LeadershipLostError: the block was cancelled; raised after it has ended.
            CampaignTimeout: the turn did not come in time; it is also a TimeoutError.
            Everything that `campaign` raises.
        """
        async with self._alone():
            keeper = await self._won(timeout, with_body=True)
            async with keeper.body():
                yield Term(keeper)

    async def run(self, body: Callable[[Term], Awaitable[T]]) -> T | None:
        """Lead, and run `body(term)`; lead again after each loss, until the body returns.

        Returns what the body returned; None if it was ended by `term.resign()`. An exception of the body ends
        leadership and is raised here, except LeadershipLostError and SessionExpiredError of a lost term, alone or in a
        group: then it leads again. Also raises everything that `lead` raises; SessionExpiredError if no new session
        follows.
        """
        while True:
            term: Term | None = None
            try:
                async with self.lead() as term:
                    return await body(term)
                return None
            except (*_LOSSES, BaseExceptionGroup) as error:
                if term is None or not term.was_lost or not _says_lost(error):
                    raise

    async def campaign(self, timeout: float | None = None) -> Term:
        """Wait for the turn, and lead until `term.resign()`.

        Nothing is cancelled here. The caller may work only while `term.is_leader`, or after each `term.proclaim` that
        succeeded. It must stop when `term.lost` is set, and resign then, too. A lost term is also resigned by the next
        `campaign` or `lead`.

        Args:
            timeout: seconds to wait for the turn. None: for ever. 0: not to wait for other candidates.

        Raises:
            CampaignTimeout: the turn did not come in time; it is also a TimeoutError.
            MixedDialect: the path has contenders of another dialect.
            ElectionError: this Election leads or campaigns already; no session owns a znode of the election, so no
                candidate created it; or `grace` is more than a third of the session timeout.
            SessionExpiredError, ClosedError, AuthFailedError: the client has no session any more.
            ZooKeeperError: the servers refuse something, as with NoAuthError.
        """
        async with self._alone():
            self._term = Term(await self._won(timeout, with_body=False))
            return self._term

    # --- looking

    @property
    def state(self) -> State:
        """ "idle", "entering", "waiting", "leading", "suspended", "lost", "resigning" or "resigned"."""
        return self._progress.state

    def states(self) -> StateStream[State]:
        """The state now, then every change, for `async for`. "waiting" is also repeated, whenever the candidate begins
        to wait for another one. A slow reader misses the oldest of more than 64 states, never the last."""
        stream = StateStream(self.state, check_run=self._client.check_run, limit=MAX_BUFFERED_STATES)
        self._streams.add(stream)
        return stream

    async def leader(self) -> Leader | None:
        """Who leads now; None if nobody does. Creates nothing (rule P3).

        Raises:
            ElectionError: no session owns the leader's znode, so nobody can lead while it is there. `contenders` (for
                any contender) and `observe` raise it too.
        """
        return await self._observer.leader()

    async def contenders(self) -> list[Contender]:
        """All contenders in the order of their turns; `is_leader` marks the leader. In mode "simple" only the leader is
        known."""
        return await self._observer.contenders()

    def observe(self) -> LeaderStream:
        """Who leads, now and after every change, for `async for`; None while nobody does. Never ends by itself."""
        return self._observer.stream()

    # --- details

    def _tell(self, state: State) -> None:
        for stream in list(self._streams):
            stream.deliver(state)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Lets only one campaign run at a time: a second one of this Election would wait for itself. A term of
        `campaign` that was lost is resigned first."""
        if self._busy or (self._term is not None and self._term.is_leader):
            leads = self.state in (State.LEADING, State.SUSPENDED, State.LOST, State.RESIGNING)
            does = "leads" if leads else "waits for its turn"
            raise ElectionError(
                f"{self.path}: this Election {does} already, and to lead twice it would have to wait for itself: "
                f"end that first, or make one Election for each candidate"
            )
        self._busy = True
        try:
            if self._term is not None:
                with trio.CancelScope(shield=True):
                    await self._term.resign()
                self._term = None
            yield
        finally:
            self._busy = False

    async def _won(self, timeout: float | None, *, with_body: bool) -> Keeper:
        """Campaign, once in each session, until a campaign is won and its body may begin."""
        # With timeout 0 it does not wait for other candidates, but it may have to wait until a possible lease is over.
        patience = math.inf if timeout is None else timeout or 3 * self._client.session_timeout + self._takeover_delay
        self._progress = progress = Progress(self._tell)
        progress.become(State.ENTERING)
        self._clock.sample()
        with trio.move_on_after(patience):
            try:
                while True:
                    try:
                        async with CAMPAIGNS[self.mode](self._plan, progress, wait=timeout != 0) as campaign:
                            self._lease()  # raises before any request is sent
                            victory = await campaign.win()
                            keeper = Keeper(campaign, victory, self._lease(), self._clock, self._overrun)
                            keeper.start(with_body=with_body)
                            if await keeper.until_due(self._earliest(victory)):
                                return keeper
                    except SessionExpiredError:
                        if self._client.bound().expired:  # and no new session follows
                            raise
            except BaseException:
                progress.become(State.IDLE)
                raise
        raise CampaignTimeout(f"{self.path}: the turn did not come within {timeout:g} s")

    def _lease(self) -> Lease:
        """A new lease for the present session timeout.

        Raises:
            ElectionError: the session timeout is too short for `grace`.
        """
        lease = LEASES[self._renewal](self._client.session_timeout, self._grace)
        if lease.grace > lease.timeout * LONGEST_GRACE:
            raise ElectionError(
                f"{self.path}: a grace of {lease.grace:g} s is more than a third of the session timeout, "
                f"{lease.timeout:g} s"
            )
        return lease

    def _earliest(self, victory: Victory) -> float:
        """When the body may begin, on trio's clock: after the takeover delay, except after a hand-over (rule P11), and
        after the end of any lease that another leader may have."""
        if victory.predecessor in ("expired", "deleted"):
            return max(self._witness.until, trio.current_time() + self._takeover_delay)
        return self._witness.until


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_acl(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, ACL) for each in value)


def _says_lost(error: BaseException) -> bool:
    """Whether the error says that leadership was lost, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(_LOSSES)[1] is None
    return isinstance(error, _LOSSES)

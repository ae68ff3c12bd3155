"""The leading server of a fake ensemble: who lives until when, and what is agreed upon.

Sessions expire as in ExpiryQueue and SessionTrackerImpl: at the first multiple of the tick that is later than the last
touch plus the timeout. Touches of a follower's clients come with its answers to the leader's pings, each half tick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.support.fake.network import Wire
from tests.support.fake.tree import Draft, Refused, Transaction
from zkwire.codes import ErrorCode, OpCode

if TYPE_CHECKING:
    from tests.support.fake.server import Connection, Request, Server


class Tracker:
    """When each session expires. Touching is refused for one that is being closed. Times in seconds, timeouts in ms."""

    def __init__(self, tick: float, phase: float) -> None:
        self._tick = tick
        self._phase = phase  # servers' clocks start anywhere
        self._expiry: dict[int, float] = {}
        #: Before when none of them ends, whatever happens: the last touch that has been heard of, plus the timeout.
        self.promised: dict[int, float] = {}
        self.closing: set[int] = set()
        self.owners: dict[int, object] = {}

    def track(self, session: int, timeout: int, now: float) -> None:
        self.promised[session] = now + timeout / 1000
        self._expiry[session] = self._bucket(now + timeout / 1000)

    def touch(self, session: int, timeout: int, now: float) -> bool:
        if session not in self._expiry or session in self.closing:
            return False
        self.track(session, timeout, now)
        return True

    def check(self, session: int, owner: object) -> ErrorCode | None:
        """What is wrong with a request of this session through this peering or server (checkSession)."""
        if session not in self._expiry or session in self.closing:
            return ErrorCode.SESSION_EXPIRED
        if self.owners.setdefault(session, owner) is not owner:
            return ErrorCode.SESSION_MOVED
        return None

    def due(self, now: float) -> list[int]:
        return [each for each, when in self._expiry.items() if when <= now + 1e-9 and each not in self.closing]

    def forget(self, session: int) -> None:
        self._expiry.pop(session, None)
        self.owners.pop(session, None)

    def next_bucket(self, now: float) -> float:
        return self._bucket(now + 1e-9)

    def _bucket(self, when: float) -> float:
        return (math.floor((when - self._phase) / self._tick) + 1) * self._tick + self._phase


class Peering:
    """The connection of a follower with its leader."""

    def __init__(self, leadership: Leadership, follower: Server) -> None:
        ensemble = follower.ensemble
        self.leadership = leadership
        self.follower = follower
        self.heard_by_leader = self.heard_by_follower = ensemble.timeline.now
        self.to_follower = Wire(ensemble.timeline, lambda: ensemble.lag(follower), self._at_follower)
        self.to_leader = Wire(ensemble.timeline, ensemble.peer_delay, self._at_leader)

    def tell_follower(self, what: Callable[..., object], *arguments: Any) -> None:
        self.to_follower.send((what, arguments))

    def tell_leader(self, what: Callable[..., object], *arguments: Any) -> None:
        self.to_leader.send((what, arguments))

    def hold(self, held: bool) -> None:
        self.to_follower.hold(held)
        self.to_leader.hold(held)

    def _at_follower(self, message: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
        def act() -> None:
            if self.follower.peering is self:
                self.heard_by_follower = self.follower.ensemble.timeline.now
                message[0](*message[1])

        self.follower.take(act)

    def _at_leader(self, message: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
        def act() -> None:
            if self in self.leadership.peerings:
                self.heard_by_leader = self.follower.ensemble.timeline.now
                message[0](*message[1])

        self.leadership.server.take(act)


class _Proposal:
    def __init__(self, transaction: Transaction, server: Server) -> None:
        self.transaction = transaction
        self.acks: set[Server] = {server}
        self.syncs: list[tuple[Request, object]] = []  # answered behind it


class Leadership:
    """A server's time as leader."""

    def __init__(self, server: Server) -> None:
        ensemble = server.ensemble
        self.server = server
        self.peerings: list[Peering] = []
        self.tracker = Tracker(ensemble.tick, ensemble.random.uniform(0, ensemble.tick))
        self._head = server.tree.copy()
        self._counter = 0
        self._proposals: list[_Proposal] = []
        now = ensemble.timeline.now
        for session, timeout in server.tree.sessions.items():
            self.tracker.track(session, timeout, now)  # a full timeout for everyone (SessionTrackerImpl's constructor)

    def begin(self) -> None:
        tick = self.server.ensemble.tick
        self._expire_at_next_bucket()
        self.server.later(tick / 2, self._half_tick)

    def end(self) -> None:
        peerings, self.peerings = self.peerings, []
        for peering in peerings:
            peering.tell_follower(peering.follower.look)

    # --- followers

    def join(self, follower: Server) -> None:
        peering = Peering(self, follower)
        self.peerings.append(peering)
        follower.follow(peering)

    def left(self, peering: Peering) -> None:
        if peering in self.peerings:
            self.peerings.remove(peering)

    def has_quorum(self, more: int = 0) -> bool:
        return 1 + len(self.peerings) + more >= self.server.ensemble.quorum

    def _half_tick(self) -> None:
        """Ping the followers, and see who is still there (Leader.lead)."""
        ensemble = self.server.ensemble
        for peering in list(self.peerings):
            if ensemble.timeline.now - peering.heard_by_leader > ensemble.patience:
                peering.tell_follower(peering.follower.look)
                self.left(peering)
            else:
                peering.tell_follower(peering.follower.pinged)
        self.server.close_idle()
        if self.has_quorum():
            self.server.later(ensemble.tick / 2, self._half_tick)
        else:
            self.server.look()

    def ponged(self, touched: dict[int, int]) -> None:
        for session, timeout in touched.items():
            self.tracker.touch(session, timeout, self.server.ensemble.timeline.now)

    # --- sessions

    def _expire_at_next_bucket(self) -> None:
        now = self.server.ensemble.timeline.now
        self.server.later(self.tracker.next_bucket(now) - now, self._expire)

    def _expire(self) -> None:
        from tests.support.fake.server import Request

        for session in self.tracker.due(self.server.ensemble.timeline.now):
            self.tracker.closing.add(session)
            self.submit(Request(None, session, OpCode.CLOSE_SESSION), self.server)
        self._expire_at_next_bucket()

    def revalidate(self, session: int, timeout: int, owner: object) -> bool:
        valid = self.tracker.touch(session, timeout, self.server.ensemble.timeline.now)
        if valid:
            self.tracker.owners[session] = owner
        return valid

    def revalidate_for(self, peering: Peering, connection: Connection) -> None:
        valid = self.revalidate(connection.session, connection.timeout, peering)
        peering.tell_follower(connection.accept, valid)

    # --- transactions

    def submit(self, request: Request, owner: object) -> None:
        if request.opcode == OpCode.SYNC:
            if self._proposals:
                self._proposals[-1].syncs.append((request, owner))
            else:
                self._answer_sync(request, owner)  # asking nobody (Leader.processSync)
            return
        transaction = self._prepare(request, owner)
        self.server.log.append(transaction)
        self._proposals.append(_Proposal(transaction, self.server))
        for peering in self.peerings:
            peering.tell_follower(peering.follower.proposed, transaction)
        self._commit()

    def ack(self, peering: Peering, zxid: int) -> None:
        for proposal in self._proposals:
            if proposal.transaction.zxid == zxid:
                proposal.acks.add(peering.follower)
        self._commit()

    def _commit(self) -> None:
        """In order, and only what a quorum has logged."""
        while self._proposals and len(self._proposals[0].acks) >= self.server.ensemble.quorum:
            proposal = self._proposals.pop(0)
            self.server.ensemble.note_commit(proposal.transaction)
            for peering in self.peerings:
                peering.tell_follower(peering.follower.committed, proposal.transaction.zxid)
            self.server.apply(proposal.transaction)
            for request, owner in proposal.syncs:
                self._answer_sync(request, owner)

    def _answer_sync(self, request: Request, owner: object) -> None:
        if isinstance(owner, Peering):
            owner.tell_follower(owner.follower.synced, request)
        else:
            self.server.finish(request)

    def _prepare(self, request: Request, owner: object) -> Transaction:
        """What the request does, if it may (PrepRequestProcessor). An error is a transaction too."""
        ensemble = self.server.ensemble
        now, session, opcode = ensemble.timeline.now, request.session, request.opcode
        self._counter += 1
        zxid = (self.server.epoch << 32) + self._counter
        draft = Draft(self._head, zxid, round(now * 1000), ensemble.first_sequence)
        if opcode == OpCode.CREATE_SESSION:
            self.tracker.track(session, request.timeout, now)
            self.tracker.owners[session] = owner
            return draft.finish(request, opens=(session, request.timeout))
        if opcode == OpCode.CLOSE_SESSION:
            self.tracker.forget(session)
            for path in self._head.ephemerals(session):
                draft.delete(path)
            return draft.finish(request, closes=session)
        if session and (err := self.tracker.check(session, owner)):
            return draft.finish(request, err)
        if opcode == OpCode.MULTI:
            response = draft.multi(request.record, session)  # which may undo all, before it is finished
            return draft.finish(request, 0, response)
        try:
            done = draft.operation(opcode, request.record, session)
        except Refused as refused:
            draft.undo()
            return draft.finish(request, refused.code)
        return draft.finish(request, 0, done)

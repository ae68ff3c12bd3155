"""One campaign: from the first request to the moment from which nobody else can lead.

A campaign belongs to one session and has one GUID, by which its znodes are told from all others. Both modes end in the
same way: one transaction begins the term, or fails. They differ in how a contender waits for its turn.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

import trio

from zkwire import (
    ACL,
    BadVersionError,
    BoundClient,
    Check,
    Client,
    Create,
    CreateMode,
    Delete,
    EventType,
    KeeperState,
    MultiOperation,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotReadOnlyError,
    SetData,
    Stat,
    Watch,
    ZkwireError,
    ZooKeeperError,
)

from ..ephemeral import SESSION_OVER, UNCERTAIN, delete_own, ensured, must_be_owned, read_write, retried, synced
from ..errors import CampaignTimeout
from .dialects import Dialect, new_guid
from .paths import Places, parent_of
from .witness import DELETED, LEADING, RESIGNED, Witness

After = Literal["nobody", "resignation", "expiry", "deletion"]

#: GUIDs of the campaigns and terms of this process. A znode of our own session that has none of them was left behind by
#: another process that had the session before (rules C10, R3).
LIVE: set[str] = set()
#: In the name of a contender, or in a mark: with dashes, or as kazoo has it without.
_GUID = re.compile(rb"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


@dataclass(frozen=True)
class Plan:
    """What all campaigns of an election have in common."""

    zk: Client
    places: Places
    data: bytes
    dialect: Dialect
    acl: Sequence[ACL]
    mixed: Literal["raise", "warn"]
    jitter: float
    on_state: Callable[[str], object]
    witness: Witness


class Proof(NamedTuple):
    """A transaction that holds only for a leader was committed.

    Attributes:
        sent, answered: when, on trio's clock.
        stat: of the leader's znode, behind it.
        watch: fires when that znode is deleted.
    """

    sent: float
    answered: float
    stat: Stat
    watch: Watch


class Won(NamedTuple):
    """A term's beginning: the path of the leader's znode, what ended the term before, and that nobody else can lead."""

    node: str
    after: After
    proof: Proof


class Gone(NamedTuple):
    """Somebody whose znode was watched until it was deleted.

    Attributes:
        name: what the epoch calls it; "" where that is not known.
        zxid: of the deletion; -1 where that is not known.
    """

    name: str
    zxid: int = -1

    def led(self, record: bytes | None) -> bool:
        """Whether the epoch says that it was the last who led, and not that it has finished."""
        return record is not None and (
            record == LEADING + self.name.encode() or (not self.name and record.startswith(LEADING))
        )


class Campaign(ABC):
    """A contender in one session."""

    def __init__(self, plan: Plan, *, impatient: bool) -> None:
        """An impatient one raises CampaignTimeout instead of waiting for others."""
        self.plan = plan
        self._impatient = impatient
        self.zk = plan.zk.bound()
        self.guid = new_guid()
        LIVE.add(self.guid)
        #: Whether anything of ours may be on the servers.
        self.has_traces = False
        #: Whether a body of this campaign has begun.
        self.has_worked = False
        self._before: bytes | None = None  # what the epoch said before our term; None: not known
        self._holder_until: float | None = None  # see Witness.succeeds; None if no holder was found
        self.gone: Gone | None = None  # whom we waited for

    @property
    @abstractmethod
    def mark(self) -> str:
        """What names this contender in the holder and in the epoch; it contains the GUID."""

    @property
    @abstractmethod
    def node(self) -> str:
        """The leader's znode of this contender, once it leads."""

    @abstractmethod
    async def win(self) -> Won:
        """Wait for the turn, and begin the term.

        Raises:
            MixedDialect, ElectionError: the path is not fit for an election.
            SessionExpiredError, ClosedError, AuthFailedError: the session is over.
            ZooKeeperError: what else the servers refused, as NoAuthError.
        """

    @abstractmethod
    async def clear_contender(self) -> None:
        """Delete what stands for this contender in the election itself."""

    async def clear(self) -> None:
        """Delete all znodes of this campaign, however far it came, also those whose creation was never answered (rule
        C9). Ends when that is done or the session is over. Not while a body runs."""
        try:
            if self.has_traces and self.zk.session.id:  # a session that never began has made no znodes
                await self._retract()
                await self.clear_contender()
        except SESSION_OVER:
            pass
        finally:
            LIVE.discard(self.guid)

    async def resign(self, node: str, version: int) -> None:
        """End the term in one transaction, which also tells the successor that it is a hand-over (rule P11). `version`
        is the data version of the node. Ends when that is done or the session is over (rule R2)."""
        places = self.plan.places
        try:
            with self._permissions_explained():
                while await self._end(Delete(node, version), Delete(places.holder), self._last_word(RESIGNED)):
                    # The outcome is not known, or somebody wrote to the node.
                    if not await self.holds():
                        break
                    stat = await retried(lambda: self.zk.exists(node))
                    if stat is None or stat.ephemeral_owner != self.zk.session.id:
                        await self.give_way()
                        break
                    version = stat.version
        except SESSION_OVER:
            pass
        except NoNodeError:
            await self.give_way()
        finally:
            LIVE.discard(self.guid)

    async def give_way(self) -> None:
        """End a term whose node was deleted by somebody: no hand-over, but what is left of it must go."""
        self.plan.witness.went(self._any_lease())
        try:
            while await self.holds() and await self._end(Delete(self.plan.places.holder), self._last_word(DELETED)):
                continue
        except (NoNodeError, *SESSION_OVER):
            pass
        await self.clear()

    async def holds(self) -> bool:
        """Whether the holder is this campaign's, by what all servers agree on."""
        holder = self.plan.places.holder
        try:
            data, stat = await synced(self.zk, holder, lambda: self.zk.get_data(holder))
        except NoNodeError:
            return False
        return stat.ephemeral_owner == self.zk.session.id and data == self.mark.encode()

    # --- for both modes

    async def begin(self, node: str, first: MultiOperation) -> Won | ZooKeeperError | None:
        """Begin the term: `first` (what makes the node, or checks it), the holder and the epoch, or nothing at all.

        Returns the beginning; or what `first` met; or None, when it may be tried again.
        """
        with self._permissions_explained():
            return await self._begin(node, first)

    async def _begin(self, node: str, first: MultiOperation) -> Won | ZooKeeperError | None:
        if await self.writable():
            return None  # what was listed may be old
        places, mark = self.plan.places, self.mark.encode()
        holder = Create(places.holder, mark, mode=CreateMode.EPHEMERAL, acl=self.plan.acl)
        before, self.has_traces = self.has_traces, True
        self._before = None
        # One after the other on the wire: the reads see the znodes as they were before.
        looking = _Looking(self.zk, places, self.gone)
        proving = _Proving(self.zk, node, first, holder, SetData(places.epoch, LEADING + mark))
        try:
            seen = await looking.done()
        except BaseException:
            await proving.drop()
            raise
        self._note(seen)
        try:
            proof = await proving.done()
            try:
                await self._judge(seen, proving.epoch)
            except BaseException:
                proof.watch.disarm()
                raise
            return Won(node, self._after(), proof)
        except NotReadOnlyError:
            self.has_traces = before
            await read_write(self.plan.zk)
            return None
        except UNCERTAIN:  # the reply is lost, and perhaps not the transaction
            return await self._confirm_begin(node, seen)
        except ZooKeeperError as error:
            if error.index is None and isinstance(error, NoNodeError):  # begun, and its node is gone already
                return await self._confirm_begin(node, seen)
            if error.index is not None:  # and so nothing was applied
                self.has_traces = before
            if error.index == 0:
                self._holder_until = None
                return error
            if error.index == 1 and isinstance(error, NodeExistsError):
                await self._wait_for_holder()
            elif isinstance(error, NoNodeError):
                missing = parent_of(places.holder) if error.index == 1 else places.epoch
                await ensured(self.zk, missing, self.plan.acl)
            else:
                raise
            return None

    @contextmanager
    def _permissions_explained(self) -> Iterator[None]:
        """Adds to a NoAuthError for holder or epoch what these znodes are for, and which permissions are enough."""
        path, _, holder, epoch = self.plan.places
        try:
            yield
        except NoAuthError as error:
            if error.path in (holder, epoch):
                error.reason = (
                    f"without {holder} and {epoch}, beside {path}, a leader whose znode somebody deletes could not be "
                    f"told from one that has finished, and there could be two; so all candidates must be allowed to "
                    f"create and delete children of {parent_of(holder)}, and to read and write the two; or give the "
                    f"election a path one step deeper, as {path}/leader, the same for all candidates"
                )
            raise

    async def writable(self) -> bool:
        """Wait while the client is on a server in read-only mode; whether that was so. Nothing is sent there, so that
        nothing need be cleared there, where it could not (rule C13)."""
        waited = self.plan.zk.state is KeeperState.CONNECTED_READ_ONLY
        if waited:
            await read_write(self.plan.zk)
        return waited

    async def confirm(self, node: str, after: After) -> Won | None:
        """Prove again what `begin` began; None when it is no more or never was, and then nothing is left of it."""
        while await self.holds():
            proving = _Proving(self.zk, node, Check(node), Check(self.plan.places.holder))
            try:
                return Won(node, after, await proving.done())
            except NotReadOnlyError:
                await read_write(self.plan.zk)
            except UNCERTAIN:
                continue
            except NoNodeError:
                break
        await self._drop_holder()
        return None

    def renew_guid(self) -> None:
        """Begin anew within the session; nothing with the old GUID is left (rule C3)."""
        LIVE.discard(self.guid)
        self.guid = new_guid()
        LIVE.add(self.guid)

    async def _confirm_begin(self, node: str, seen: _Seen) -> Won | None:
        """Confirm a term whose beginning was not answered."""
        await self._judge(seen, None)
        return await self.confirm(node, self._after())

    def comes_second(self) -> None:
        """Somebody else comes first."""
        self.plan.witness.waits(self.plan.zk.last_zxid, self._any_lease())

    async def wait(self, watch: Watch, name: str | None = None) -> None:
        """Wait for what is watched; the next request tells when it was the end of the session (rule W10).

        `name` is the epoch's name for the candidate that is waited for, if the watch is on that candidate's znode.
        """
        if self._impatient:
            raise CampaignTimeout(f"{self.plan.places.path}: somebody else leads or comes first")
        self.plan.on_state("waiting")
        event = await watch.wait()
        if name is not None and event.type == EventType.NODE_DELETED:
            self.gone = Gone(name, event.zxid)

    def is_left_over(self, data: bytes | None, stat: Stat) -> bool:
        """Whether a znode that is marked with `data` is this session's, and of no campaign of this process."""
        if stat.ephemeral_owner != self.zk.session.id:
            return False
        return not any(str(uuid.UUID(guid.decode())) in LIVE for guid in _GUID.findall(data or b""))

    async def _end(self, *operations: MultiOperation) -> bool:
        """Commit it; whether it is to be tried again."""
        try:
            await self.zk.multi(operations)
        except NotReadOnlyError:
            await read_write(self.plan.zk)
            return True
        except (BadVersionError, *UNCERTAIN):
            return True
        return False

    async def _drop_holder(self) -> None:
        mark = self.mark.encode()
        await delete_own(self.zk, self.plan.places.holder, lambda data, stat: data == mark)

    async def _wait_for_holder(self) -> None:
        """Another leader's znode is gone, and it still works, or may: wait until it has finished, or its session has
        expired, and so its lease is over."""
        if self._holder_until is None:
            self._holder_until = self._any_lease()
        holder = self.plan.places.holder
        try:
            data, stat, watch = await retried(lambda: self.zk.get_data_and_watch(holder))
        except NoNodeError:
            return
        async with watch:
            must_be_owned(holder, stat)
            if not self.is_left_over(data, stat):
                await self.wait(watch)
                return
            # Our session, and not our doing: another process led with it. Its last proof is older than our session's
            # connection, so that its lease is over one timeout from now.
            with trio.move_on_after(self.plan.zk.session_timeout):
                await self.wait(watch)
                return
        await delete_own(self.zk, holder, lambda found, _: found == data)

    async def _retract(self) -> None:
        """End a term, if one has begun, that has no body."""
        holder = self.plan.places.holder
        while await self.holds():
            stat = await retried(lambda: self.zk.exists(self.node))
            ours = stat is not None and stat.ephemeral_owner == self.zk.session.id
            node = [Delete(self.node, stat.version)] if stat is not None and ours else []
            last_word = self._last_word(RESIGNED)
            try:
                if not await self._end(*node, Delete(holder), last_word):
                    break
            except NoNodeError as error:  # deleted by somebody
                if error.path == last_word.path:
                    await self._drop_holder()

    # --- whether another leader may still work

    def _any_lease(self) -> float:
        """When all leases are over whose proofs were committed before now: no proof is committed without both
        znodes."""
        return trio.current_time() + self.plan.zk.session_timeout

    def _note(self, seen: _Seen) -> None:
        """Hand what the epoch says to the witness, even if the term does not begin."""
        if seen.epoch is not None:
            self.plan.witness.sees(seen.record or b"", seen.epoch.czxid, self._any_lease(), trio.current_time())
        elif seen.record is not None:
            self.plan.witness.no_epoch(self._any_lease(), seen.holders)

    async def _judge(self, seen: _Seen, written: Stat | None) -> None:
        """Our term has begun. `written` is the epoch's Stat after that, None if the reply was lost."""
        witness, parted = self.plan.witness, None
        if self.gone is not None and self.gone.led(seen.record) and seen.holders is not None:
            went = self.gone.zxid if seen.contenders is None else seen.contenders
            if went < 0:  # a server that does not send the zxid: take that of the last change of any contender
                stat = await retried(lambda: self.zk.exists(self.plan.places.parent))
                went = -1 if stat is None else stat.pzxid
            if seen.holders < went:  # the holder was deleted in an earlier transaction than the leader's znode
                parted = self._any_lease()
        witness.succeeds(seen.record, self._holder_until, parted)
        if seen.record is None and witness.has_waited:
            witness.suspect(self._any_lease())
        if written is not None:
            before = (written.czxid, 0) if seen.epoch is None else (seen.epoch.czxid, seen.epoch.version)
            if (written.czxid, written.version - 1) != before:
                witness.suspect(self._any_lease())  # somebody else wrote the epoch since it was read, or made it again
            witness.wrote(written.czxid)
        self._before = seen.record

    def _doubt(self) -> float:
        """For how many seconds another leader may still work."""
        if self._before is None and self.plan.witness.has_waited:
            return self.plan.zk.session_timeout  # the term began, and the epoch from before it is not known
        return max(0.0, self.plan.witness.until - trio.current_time())

    def _last_word(self, word: bytes) -> SetData:
        """What the epoch says when this term has ended: that its body has finished; or, if no body began, what was
        known before the term."""
        if self.has_worked:
            record = word + self.mark.encode()
        elif (seconds := self._doubt()) > 0:
            record = self.plan.witness.doubt(self.mark, seconds)
        elif self._before is None:
            record = LEADING + self.mark.encode()
        elif self._before.startswith((LEADING, DELETED)):
            record = self._before
        else:
            record = RESIGNED + self.mark.encode()
        return SetData(self.plan.places.epoch, record)

    def _after(self) -> After:
        record = self._before
        if self._holder_until is not None or self.plan.witness.until > trio.current_time():
            return "deletion"
        if record is None or record.startswith(LEADING):
            return "expiry"
        if record.startswith(RESIGNED):
            return "resignation"
        return "deletion" if record else "nobody"


class _Seen(NamedTuple):
    """The znodes as they were before a term began. `record` is the epoch's data: b"" if the epoch is missing, None if
    that is not known. `holders` and `contenders` are the pzxids of the parents of the holder and of the contenders."""

    record: bytes | None = None
    epoch: Stat | None = None
    holders: int | None = None
    contenders: int | None = None


class _Looking:
    """The reads before the transaction that begins a term, all sent at once."""

    def __init__(self, zk: BoundClient, places: Places, gone: Gone | None) -> None:
        self._epoch = zk.get_data(places.epoch)
        self._holders = None if gone is None else zk.exists(parent_of(places.holder))
        # In mode `simple` the transaction itself changes that one; in mode `sequential` it can be read when it matters.
        aside = gone is not None and gone.zxid < 0 and places.parent != places.path
        self._contenders = zk.exists(places.parent) if aside else None

    async def done(self) -> _Seen:
        """What was found; `record` is None where the connection was lost."""
        seen = _Seen()
        with suppress(*UNCERTAIN):  # the transaction then fails in the same way
            try:
                data, stat = await self._epoch
                seen = _Seen(data or b"", stat)
            except NoNodeError:
                seen = _Seen(b"")
            if self._holders is not None and (found := await self._holders) is not None:
                seen = seen._replace(holders=found.pzxid)
            if self._contenders is not None and (found := await self._contenders) is not None:
                seen = seen._replace(contenders=found.pzxid)
        return seen


class _Proving:
    """A transaction that holds only for a leader, and right behind it a watch on the leader's znode."""

    def __init__(self, zk: BoundClient, node: str, *operations: MultiOperation) -> None:
        """Sends both."""
        self._zk = zk
        #: The epoch as the transaction left it, if it wrote there.
        self.epoch: Stat | None = None
        self._sent = trio.current_time()
        self._transaction = zk.multi(operations)
        self._arming = zk.get_children2_and_watch(node)

    async def done(self) -> Proof:
        """Raises what the transaction met, or NoNodeError without an index for a node that is gone again."""
        try:
            results = await self._transaction
        except BaseException:
            await self.drop()
            raise
        answered = trio.current_time()
        if len(results) == 3:
            self.epoch = results[2]
        _, stat, watch = await self._arming
        return Proof(self._sent, answered, stat, watch)

    async def drop(self) -> None:
        """Leave no watch behind."""
        if not self._zk.session.id:  # nothing was sent, and there may never be a reply
            self._transaction.close()
            self._arming.close()
            return
        with trio.CancelScope(shield=True), suppress(ZkwireError):
            (await self._arming)[2].disarm()

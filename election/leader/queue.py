"""Mode `sequential`: first come, first led. A contender is a child of the path, and watches the one before it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from zkwire import BadVersionError, Check, CreateMode, NoNodeError, NotReadOnlyError, Stat

from ..ephemeral import UNCERTAIN, delete_own, ensured, must_be_owned, read_write, retried, synced
from .campaign import Campaign, Gone, Plan, Victory
from .dialects import contenders
from .sequence import in_order
from .states import Progress, State


class SequentialCampaign(Campaign):
    """A contender with a place in the queue."""

    def __init__(self, plan: Plan, progress: Progress, *, wait: bool) -> None:
        super().__init__(plan, progress, wait=wait)
        self._name = ""  # the child that is ours; empty before

    @property
    def mark(self) -> str:
        return self._name or self.guid

    @property
    def node(self) -> str:
        return f"{self.plan.paths.path}/{self._name}"

    async def win(self) -> Victory:
        plan, path = self.plan, self.plan.paths.path
        while True:
            try:
                names = await retried(lambda: self.session.get_children(path))
            except NoNodeError:
                names = []
            if self._name not in names:
                # Not there yet; or deleted by somebody, alone or with the whole path (rules W9, W17).
                if self._name:
                    plan.witness.was_deleted(self._any_lease())
                contenders(names, plan.dialect, path, plan.mixed)
                await self._enter()
                continue
            queue = contenders(names, plan.dialect, path, plan.mixed)
            for duplicate in plan.dialect.own(names, self.guid):
                if duplicate != self._name:
                    await delete_own(self.session, f"{path}/{duplicate}", lambda data, stat: True)
            place = queue.index(self._name)
            if place > 0:
                if place > 1 and (stat := await self._stat(queue[0])) is not None:
                    must_be_owned(f"{path}/{queue[0]}", stat)  # else other programs wait for it for ever
                await self._wait_for(f"{path}/{queue[place - 1]}")
                continue
            try:
                victory = await self.begin(self.node, Check(self.node))
            except NoNodeError as error:
                if error.index != 0:
                    raise
                continue  # our own znode is gone
            if victory is not None:
                return victory

    async def withdraw_contender(self) -> None:
        for name in await self._ours():
            await delete_own(self.session, f"{self.plan.paths.path}/{name}", lambda data, stat: True)

    async def _ours(self) -> list[str]:
        """The children with our GUID. Behind a `sync` that is final: a create that was still under way is done by then,
        or will be refused, since its connection has lost the session (rule C5)."""
        path = self.plan.paths.path
        try:
            names = await synced(self.session, path, lambda: self.session.get_children(path))
        except NoNodeError:
            return []
        return [name for name, _ in in_order(self.plan.dialect.own(names, self.guid))]

    async def _enter(self) -> None:
        """Create our child, with as many requests as it takes, and never a second one (rules C1 to C7)."""
        plan, path = self.plan, self.plan.paths.path
        self.progress.become(State.ENTERING)
        if self._name:
            self.renew_guid()
            self._name = ""
        prefix = f"{path}/{plan.dialect.prefix(self.guid)}"
        while not self._name:
            await read_write(plan.client)  # nothing is sent to a server in read-only mode (rule C13)
            before, self.may_have_znodes = self.may_have_znodes, True
            try:
                node = await self.session.create(prefix, plan.data, mode=CreateMode.EPHEMERAL_SEQUENTIAL, acl=plan.acl)
                self._name = node.rpartition("/")[2]
            except NoNodeError:
                self.may_have_znodes = before
                await ensured(self.session, path, plan.acl)
            except NotReadOnlyError:
                self.may_have_znodes = before
                await read_write(plan.client)
            except UNCERTAIN:
                self._name = await self._find()

    async def _find(self) -> str:
        """Our child, where a create was applied without our knowing; else empty."""
        found = ""
        for name in await self._ours():
            stat = await self._stat(name)
            if stat is None:
                continue
            if self.owns(stat) and not found:
                found = name
            else:  # a duplicate, or of a session that is not this one (rule C6)
                with suppress(NoNodeError, BadVersionError):
                    await retried(partial(self.session.delete, f"{self.plan.paths.path}/{name}", stat.version))
        return found

    async def _stat(self, name: str) -> Stat | None:
        return await retried(lambda: self.session.exists(f"{self.plan.paths.path}/{name}"))

    async def _wait_for(self, node: str) -> None:
        """Wait until something happens to the contender before us."""
        name = node.rpartition("/")[2]
        try:
            # Not `exists`, which would leave a watch behind where the znode is gone (rule W2).
            _, stat, watch = await retried(lambda: self.session.get_data_and_watch(node))
        except NoNodeError:
            self.gone = Gone(name)
            return
        async with watch:
            must_be_owned(node, stat)
            if self.is_left_over(node.encode(), stat):
                await delete_own(self.session, node, lambda data, stat: True)
            else:
                self.comes_second()
                await self.wait(watch, name)

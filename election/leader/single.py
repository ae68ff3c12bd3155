"""Mode `simple`: the path is the leader's znode. All candidates try to create it. While it exists they watch it."""

from __future__ import annotations

import random

import trio

from zkwire import Create, CreateMode, EventType, NodeExistsError, NoNodeError, Stat, Watch

from ..ephemeral import SESSION_OVER, delete_own, ensured, must_be_owned, retried, synced
from .campaign import Campaign, Plan, Victory
from .paths import parent_of
from .states import Progress, State


class SimpleCampaign(Campaign):
    """A campaign without a queue. It has no znode before its term begins; then it has all of them at once."""

    def __init__(self, plan: Plan, progress: Progress, *, wait: bool) -> None:
        super().__init__(plan, progress, wait=wait)
        self._czxid = 0  # that of the leader's znode, once it is ours

    @property
    def mark(self) -> str:
        return self.guid

    @property
    def node(self) -> str:
        return self.plan.paths.path

    async def win(self) -> Victory:
        plan, path = self.plan, self.plan.paths.path
        self.progress.become(State.ENTERING)
        while True:
            try:
                victory = await self.begin(path, Create(path, plan.data, mode=CreateMode.EPHEMERAL, acl=plan.acl))
            except NodeExistsError:
                if await self._stand_by() and plan.jitter:
                    await trio.sleep(random.uniform(0, plan.jitter))  # not all at once (rule S6)
            except NoNodeError as error:
                if error.index != 0:
                    raise
                if plan.witness.has_waited:  # somebody has deleted the parent of the znode that we waited for
                    plan.witness.contender_was_deleted(self._any_lease())
                await ensured(self.session, parent_of(path), plan.acl)
            else:
                if victory is not None:
                    self._czxid = victory.stat.czxid
                    return victory

    async def withdraw_contender(self) -> None:
        if not self.may_lead:
            return
        # Both znodes were created in one transaction, so if the holder is ours, the leader's znode is too. If somebody
        # has deleted the holder, the leader's znode is known by its czxid.
        holds = await self.holds()
        await delete_own(self.session, self.plan.paths.path, lambda data, stat: holds or stat.czxid == self._czxid)

    async def resign(self, node: str, version: int) -> None:
        # Anybody can create the path: if our znode was deleted, that of another program may be there (rule R1).
        try:
            stat = await synced(self.session, node, lambda: self.session.exists(node))
        except SESSION_OVER:
            stat = None
        if stat is None or not self.owns(stat):
            await self.finish_deleted()
        else:
            await super().resign(node, version)

    async def _stand_by(self) -> bool:
        """Wait until the leader's znode is gone. Returns whether it was there."""
        path = self.plan.paths.path
        while True:
            # `exists` also arms a watch if the znode is not there (rule S1).
            stat, watch = await retried(lambda: self.session.exists_and_watch(path))
            async with watch:
                if stat is None:
                    return False
                self.somebody_comes_first()
                must_be_owned(path, stat)
                if self.owns(stat) and await self._is_left_over():
                    await self._drop_left_over(stat, watch)
                    return True
                await self.wait(watch, "")
                if watch.event is not None and watch.event.type == EventType.NODE_DELETED:
                    return True

    async def _is_left_over(self) -> bool:
        """Whether our session's znode was created by another process, which had the session before. Then the holder is
        not from this process either."""
        try:
            data, holder = await retried(lambda: self.session.get_data(self.plan.paths.holder))
        except NoNodeError:
            return True
        return self.is_left_over(data, holder)

    async def _drop_left_over(self, stat: Stat, watch: Watch) -> None:
        """Delete a left-over znode when the lease of its leader is over, one timeout from now. It is never adopted
        (rules R3, R4)."""
        with trio.move_on_after(self.plan.client.session_timeout):
            await self.wait(watch)
            return
        await delete_own(self.session, self.plan.paths.path, lambda data, found: found.czxid == stat.czxid)

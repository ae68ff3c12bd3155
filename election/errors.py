"""What can go wrong in an election or a registry, beside the errors of zkwire, which pass through as they are."""

from __future__ import annotations

from zkwire import ZkwireError


class ElectionError(ZkwireError):
    """The base of all errors of this package. A ZkwireError, so that programs need to look for one kind only."""


class CampaignTimeout(ElectionError, TimeoutError):
    """The campaign was not won in time. Nothing of it is left."""


class MixedDialect(ElectionError):
    """The election path has contenders of another dialect, who would not respect ours: there could be two leaders."""


class NotLeaderError(ElectionError):
    """Something was asked of a term that only a leader may do. Nothing was written."""


class LeadershipLostError(NotLeaderError):
    """Leadership ended, or came in doubt, before the body did: the body was cancelled."""


class ProclaimConflict(ElectionError):
    """Somebody else wrote to the leader's znode. Nothing was written."""


class RegistryError(ElectionError):
    """The base of the errors of the registry."""


class NoMembersError(RegistryError):
    """There is no member to pick."""

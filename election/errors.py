"""The errors of elections and registries. Errors of zkwire pass through unchanged."""

from __future__ import annotations

from zkwire import ZkwireError


class ElectionError(ZkwireError):
    """The base class of all errors of this package. It is a ZkwireError, so that one `except` is enough."""


class CampaignTimeout(ElectionError, TimeoutError):
    """The campaign was not won in time. None of its znodes is left."""


class MixedDialect(ElectionError):
    """The election's path has contenders of another dialect. They would not respect ours, so there could be two
    leaders."""


class NotLeaderError(ElectionError):
    """Only a leader may do this, and the term is over. Nothing was written."""


class LeadershipLostError(NotLeaderError):
    """Leadership ended, or was in doubt, while the body was running. The body was cancelled."""


class ProclaimConflict(ElectionError):
    """Somebody else has written to the leader's znode. This `proclaim` wrote nothing."""


class RegistryError(ElectionError):
    """The base class of the errors of a registry."""


class NoMembersError(RegistryError):
    """There is no member that could be picked."""

"""Dialects: how the contenders of an election are named, so that our candidates and other programs respect each other.

A recipe looks for its own marker directly before the sequence number. It ignores a child without that marker, or takes
the child for a later contender. So two recipes on one path may both lead, and neither sees an error. No name satisfies
all recipes. So a path has one dialect, and every child that ends in a sequence number counts as a contender. We refuse
a path that has a contender of another dialect.
"""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import MixedDialect
from .sequence import in_order, split


@dataclass(frozen=True)
class Dialect:
    """How one family of recipes names its contenders.

    Attributes:
        name: what `Election(dialect=...)` calls it.
        marker: what its children have directly before the sequence number.
        template: the prefix that we create with: `{guid}` is a GUID with its dashes, `{hex}` without.
    """

    name: str
    marker: str
    template: str

    def prefix(self, guid: str) -> str:
        """The name to create with, to which the server appends the sequence number."""
        return self.template.format(guid=guid, hex=guid.replace("-", ""))

    def own(self, names: Iterable[str], guid: str) -> list[str]:
        """The children that were created with this GUID: none or one; two if a reply was lost."""
        prefix = self.prefix(guid)
        return [name for name in names if name.startswith(prefix)]

    def speaks(self, child: str) -> bool:
        """Whether a child is a contender of this dialect, ours or another program's."""
        parts = split(child)
        return parts is not None and parts[0].endswith(self.marker)


DIALECTS = {
    dialect.name: dialect
    for dialect in [
        # Curator's LeaderSelector and InterProcessMutex, go-zookeeper's Lock (32 digits without dashes), kezhuw's (any
        # text before): all look for "lock-" alone.
        Dialect("native", "lock-", "_c_{guid}-lock-"),
        Dialect("curator-latch", "latch-", "_c_{guid}-latch-"),
        Dialect("kazoo", "__lock__", "{hex}__lock__"),
    ]
}

#: Recipes that we recognize, but do not speak: by the text before the sequence number. The first match counts.
_OTHERS = [
    ("Curator read-write lock", re.compile(r".*__(?:READ|WRIT)__")),
    ("Curator lease", re.compile(r".*-lease-")),
    ("kazoo read lock", re.compile(r".*__rlock__")),
    ("ZooKeeper WriteLock", re.compile(r"x--?[0-9a-f]+-")),  # the session: decimal in Java, 16 hex digits in C
    ("LeaderElectionSupport", re.compile(r"n_")),
    ("Solr", re.compile(r".*-n_")),
    ("aiozk", re.compile(r"(?:candidate|lock|read|write|lease)-[0-9a-f]{32}-")),
    ("finagle", re.compile(r"member_")),
]


def new_guid() -> str:
    """A new GUID: a random UUID, with dashes (rule C3)."""
    return str(uuid.uuid4())


def dialect_of(child: str) -> str:
    """The dialect of a contender: a name in DIALECTS, the name of another recipe, or "unknown".

    Raises:
        ValueError: the name does not end in a sequence number, so it is not a contender.
    """
    parts = split(child)
    if parts is None:
        raise ValueError(f"{child!r} does not end in a sequence number")
    for dialect in DIALECTS.values():
        if parts[0].endswith(dialect.marker):
            return dialect.name
    for name, pattern in _OTHERS:
        if pattern.fullmatch(parts[0]):
            return name
    return "unknown"


def contenders(
    names: Iterable[str], dialect: Dialect, path: str, mixed: Literal["raise", "warn"] = "raise"
) -> list[str]:
    """The contenders among the children of an election path, the oldest first (rules W8, W12, W13).

    Every child that ends in a sequence number is one, whatever its dialect; the others are ignored.

    Args:
        names: the children, in any order.
        dialect: the dialect of the path.
        path: the path, for the message.
        mixed: what to do if there is a contender of another dialect. "warn" issues one RuntimeWarning, for the oldest.

    Raises:
        MixedDialect: there is one, and `mixed` is "raise".
    """
    found = in_order(names)
    for child, before in found:
        if not before.endswith(dialect.marker):
            text = (
                f"{path} is an election of dialect {dialect.name!r}, but its child {child!r} is of dialect "
                f"{dialect_of(child)!r}: neither respects the other, and two leaders would be possible"
            )
            if mixed == "raise":
                raise MixedDialect(text)
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            break
    return [child for child, _ in found]

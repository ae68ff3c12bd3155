"""Where the znodes of an election are.

In mode `sequential` the contenders are the children of the path. In mode `simple` the path itself is the leader's
znode. Two more znodes lie beside them, which other programs' recipes do not know:

    holder  `<path>-holder`, ephemeral. A leader creates it in the transaction that begins its term, and deletes it when
            its body has finished. While it exists, no other candidate of ours leads, even if the leader's other znode
            is gone. Its data is the name of the leader.
    epoch   `<path>-epoch`, persistent. It says who led last and how that term ended: "leading NAME", "resigned NAME" or
            "deleted NAME". The transactions that begin and end a term write it. It says "doubtful NAME SECONDS" if a
            term ended before its body began, while another leader may still have worked for so many seconds.

So the next leader can distinguish three cases: a hand-over (the epoch says resigned), an expired leader (leading, and
the holder is gone), and a leader whose znode somebody else has deleted (deleted; or the holder is still there, and that
leader may still work).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Mode = Literal["sequential", "simple"]


class ElectionPaths(NamedTuple):
    """The paths of one election. `parent` is the parent of the znodes that candidates create."""

    path: str
    parent: str
    holder: str
    epoch: str

    @classmethod
    def of(cls, path: str, mode: Mode) -> ElectionPaths:
        """The paths of the election at `path`.

        The holder must survive when somebody deletes the parent of the leader's znode with all that is in it. So in
        mode `simple` it lies beside that parent: `/a-master-holder` for `/a/master`.

        Raises:
            ValueError: the path is "/".
        """
        if path == "/":
            raise ValueError("an election needs a path other than /, since two znodes lie beside it")
        parent, _, name = path.rpartition("/")
        if mode == "sequential":
            return cls(path, path, f"{path}-holder", f"{path}-epoch")
        beside = f"{parent}-{name}" if parent else path
        return cls(path, parent or "/", f"{beside}-holder", f"{beside}-epoch")


def parent_of(path: str) -> str:
    """The path of the znode that this one is a child of."""
    return path.rpartition("/")[0] or "/"

"""Where the znodes of an election are.

In mode `sequential` the contenders are the children of the path; in mode `simple` the path itself is the leader's
znode. Two more lie beside them, of which other programs' recipes know nothing:

    holder  ephemeral, made by a leader in the transaction that begins its term, deleted when its body has finished.
            While it exists, no other candidate of ours leads, even if the leader's other znode is gone. Its data
            names the leader.
    epoch   persistent: "leading NAME", "resigned NAME" or "deleted NAME", written in the transactions that begin and
            end a term; "doubtful NAME SECONDS" where a term ended without a body, while another leader may still
            have worked for so many seconds.

So a successor can distinguish a hand-over (epoch: resigned), an expired leader (epoch: leading, no holder), and a
leader whose znode somebody else deleted (epoch: deleted), perhaps while that leader still works (the holder is there).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Mode = Literal["sequential", "simple"]


class ElectionPaths(NamedTuple):
    """Paths of one election: `parent` is the directory of what contenders create."""

    path: str
    parent: str
    holder: str
    epoch: str

    @classmethod
    def of(cls, path: str, mode: Mode) -> ElectionPaths:
        """The paths of an election.

        The holder must survive when somebody deletes the directory of the leader's znode with all that is in it: so in
        mode `simple` it lies beside that directory, `/a-master-holder` for `/a/master`.

        Raises:
            ValueError: nothing can lie beside "/".
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

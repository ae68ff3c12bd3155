"""Which paths can name a znode, and how a chroot is put before them and taken off again.

Source: PathUtils.validatePath. Servers check only the paths of writes, and their errors mislead: they answer
create("/a//b") with NoNode.
"""

from __future__ import annotations

import re

# Control characters; surrogates and private use; specials; and all that Java writes as a surrogate pair.
_FORBIDDEN = "\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff"
_VALID = re.compile(rf"/|(?:/(?!\.{{1,2}}(?:/|\Z))[^/{_FORBIDDEN}]+)+").fullmatch
_FORBIDDEN_CHARACTER = re.compile(f"[{_FORBIDDEN}]")


def problem(path: object, *, sequential: bool = False) -> str | None:
    """Why `path` cannot name a znode; None: it can.

    sequential: it is the path of a sequential create. That may end in a slash or a dot, since the server looks at it
    only after it has put ten digits there.
    """
    if isinstance(path, str) and _VALID(path):
        return None
    if not isinstance(path, str):
        return f"a path is a str, not {type(path).__name__} {path!r:.60}"
    if not path:
        return "a path is not empty; the root is '/'"
    if not path.startswith("/"):
        return f"path {path!r} does not start with '/'"
    if found := _FORBIDDEN_CHARACTER.search(path):
        return f"path {path!r} has U+{ord(found[0]):04X} at index {found.start()}, which no znode's name may have"
    if sequential:
        return problem(path + "0")
    if path.endswith("/"):
        return f"path {path!r} ends with '/'"
    name = next(name for name in path.split("/")[1:] if name in ("", ".", ".."))
    return f"path {path!r} has a component {name!r}"


def under(chroot: str, path: str) -> str:
    """The path as the server knows it. `chroot` is "" (none), or a path that does not end in a slash."""
    if not chroot:
        return path
    return chroot if path == "/" else chroot + path


def strip(chroot: str, path: str) -> str:
    """The server's path as the client knows it. A path outside the chroot (/zookeeper/config) stays as it is.

    The chroot /app is not a parent of /apple.
    """
    if not chroot or not path.startswith(chroot):
        return path
    rest = path[len(chroot) :]
    if rest.startswith("/"):
        return rest
    return path if rest else "/"


def ancestors(path: str) -> list[str]:
    """The path itself, and each of its parents up to the root, in this order."""
    found = [path]
    while path != "/":
        path = path[: path.rfind("/")] or "/"
        found.append(path)
    return found

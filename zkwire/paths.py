"""Which paths name a znode, and how a chroot goes on and off them.

Source: PathUtils.validatePath. The server checks writes only, and misleads: it answers create("/a//b") with NoNode.
"""

from __future__ import annotations

import re

# Controls; surrogates and private use; specials; and all that Java writes as a surrogate pair.
_FORBIDDEN = "\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff"
_VALID = re.compile(rf"/|(?:/(?!\.{{1,2}}(?:/|\Z))[^/{_FORBIDDEN}]+)+").fullmatch
_FORBIDDEN_CHARACTER = re.compile(f"[{_FORBIDDEN}]")


def problem(path: object, *, sequential: bool = False) -> str | None:
    """Why `path` names no znode; None when it does.

    A sequential create may end in a slash or a dot, since the server puts ten digits behind it before it looks.
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
        return f"path {path!r} holds U+{ord(found[0]):04X} at index {found.start()}, which no znode's name may"
    if sequential:
        return problem(path + "0")
    if path.endswith("/"):
        return f"path {path!r} ends with '/'"
    name = next(name for name in path.split("/")[1:] if name in ("", ".", ".."))
    return f"path {path!r} has a component {name!r}"


def under(chroot: str, path: str) -> str:
    """The server's name for a client's path. The chroot is "" (none) or a path without a slash at its end."""
    if not chroot:
        return path
    return chroot if path == "/" else chroot + path


def strip(chroot: str, path: str) -> str:
    """The client's name for a server's path; one outside the chroot stays as it is (/zookeeper/config).

    The chroot ends only at a slash: /app is not the parent of /apple.
    """
    if not chroot or not path.startswith(chroot):
        return path
    rest = path[len(chroot) :]
    if rest.startswith("/"):
        return rest
    return path if rest else "/"


def ancestors(path: str) -> list[str]:
    """The path itself, then each parent up to the root."""
    found = [path]
    while path != "/":
        path = path[: path.rfind("/")] or "/"
        found.append(path)
    return found

"""Write the pages; with --check, name those that are out of date instead."""

from __future__ import annotations

import sys

from docs.generate import protocol, session

PAGES = {session.PAGE: session.page, protocol.PAGE: protocol.page}


def main(arguments: list[str]) -> int:
    stale = []
    for path, make in PAGES.items():
        text = make()
        if arguments == ["--check"]:
            stale += [path] if not path.exists() or path.read_text(encoding="utf-8") != text else []
        else:
            path.write_text(text, encoding="utf-8")
            print(path)
    for path in stale:
        print(f"{path} is out of date: run make docs, and commit the result", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

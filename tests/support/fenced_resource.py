"""A resource that leaders write to. It keeps the highest fencing token that it has seen, and refuses lower ones.

    python -m tests.support.fenced_resource

prints the port that it listens on. One line asks, one line answers:

    read NAME TOKEN            the number, 0 at first
    write NAME TOKEN NUMBER    done
    report NAME                JSON: {"number": ..., "tokens": those accepted, in order, repetitions left out,
                               "refused": how many requests}

A request with a lower token than an earlier one is answered with "stale". It is a process of its own, so that it is
never stopped together with a candidate.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections import defaultdict


class Resource:
    """One number."""

    def __init__(self) -> None:
        self.number = 0
        self.tokens: list[int] = []
        self.refused = 0

    def takes(self, token: int) -> bool:
        if self.tokens and token < self.tokens[-1]:
            self.refused += 1
            return False
        if self.tokens[-1:] != [token]:
            self.tokens.append(token)
        return True

    def answer(self, verb: str, *arguments: str) -> str:
        if verb == "report":
            return json.dumps(vars(self))
        token, *numbers = map(int, arguments)
        if not self.takes(token):
            return "stale"
        if verb == "read":
            return str(self.number)
        (self.number,) = numbers
        return "done"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resources: defaultdict[str, Resource] = defaultdict(Resource)
        self.lock = threading.Lock()


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        try:
            for line in self.rfile:
                verb, name, *arguments = line.decode().split()
                with self.server.lock:
                    answer = self.server.resources[name].answer(verb, *arguments)
                self.wfile.write(answer.encode() + b"\n")
        except ConnectionError:
            return  # the client was killed


if __name__ == "__main__":
    with _Server() as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()

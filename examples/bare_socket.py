"""A session over a bare blocking socket: zkwire's core speaks the protocol, this moves bytes and tells the time."""

import os
import socket
import sys
from time import monotonic as now

from zkwire import NEED_DATA, ClosedError, Request, Session
from zkwire.hosts import parse_hosts
from zkwire.operations import GET_CHILDREN
from zkwire.records import GetChildrenRequest
from zkwire.session.events import Disconnected, Replied

host, session = parse_hosts(os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))[0][0], Session(10.0)
session.request(Request(GET_CHILDREN, GetChildrenRequest("/", False)), now())
with socket.create_connection((host.name, host.port)) as sock:
    session.tcp_connected(now(), deadline=now() + 10.0)
    while True:
        sock.sendall(session.data_to_send(now()))
        sock.settimeout(max((session.next_deadline() or now() + 1) - now(), 0.001))
        try:
            session.receive_data(sock.recv(65536), now())
        except TimeoutError:
            session.handle_timeout(now())  # a ping is due
        while (event := session.next_event(now())) is not NEED_DATA:
            print(event)
            if isinstance(event, Replied):
                session.close(now())
            elif isinstance(event, Disconnected):
                sys.exit(None if isinstance(session.error, ClosedError) else event.reason)

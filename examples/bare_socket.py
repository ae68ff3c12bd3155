"""A session over a bare blocking socket: zkwire's core speaks the protocol, the program moves bytes and tells the time.

    python -m examples.bare_socket

It lists the children of /, prints every event, and closes the session. It sends no pings, since it ends at once:
blocking.py keeps its session, with pings, reconnects and watches.
"""

import os
import socket
import sys
from time import monotonic as now

from zkwire import GET_CHILDREN, NEED_DATA, Disconnected, GetChildrenRequest, Replied, Request, Session, parse_hosts

hosts, chroot = parse_hosts(os.environ.get("ZKWIRE_HOSTS", "127.0.0.1:2181"))
session = Session(session_timeout=10.0)
session.request(Request(GET_CHILDREN, GetChildrenRequest(chroot or "/", watch=False)), now())
with socket.create_connection(hosts[0], timeout=10.0) as sock:
    session.tcp_connected(now(), deadline=now() + 10.0)
    while not isinstance(event := session.next_event(now()), Disconnected):
        if event is NEED_DATA:
            sock.sendall(session.data_to_send(now()))
            session.receive_data(sock.recv(65536), now())
            continue
        print(event)
        if isinstance(event, Replied):
            session.close(now())
if session.error is None:
    sys.exit(event.reason)

"""Captured TCP, put together and read: the bytes of a capture file in, what ZooKeeper's clients and servers said out.

    pcap     a file's packets
    packet   a packet's headers, down to TCP
    stream   a direction's bytes in order
    resync   where a frame starts in the middle of a stream
    reader   `Capture`: connections and their frames

No I/O, no clock: the time is that of the packets.
"""

from .packet import Endpoint
from .pcap import CaptureError
from .reader import Capture, Captured, Link, Notice, Stray

__all__ = ["Capture", "CaptureError", "Captured", "Endpoint", "Link", "Notice", "Stray"]

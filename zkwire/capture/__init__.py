"""Finds the frames of ZooKeeper's clients and servers in the bytes of a capture file.

    pcap     a file's packets
    packet   the headers of a packet, from the link to TCP
    stream   the bytes of one direction, in order
    resync   where a frame starts in the middle of a stream
    reader   `Capture`: connections and their frames

No I/O, no clock: times are those of the packets.
"""

from .packet import Endpoint
from .pcap import CaptureError
from .reader import Capture, Captured, Link, Notice, Stray

__all__ = ["Capture", "CaptureError", "Captured", "Endpoint", "Link", "Notice", "Stray"]

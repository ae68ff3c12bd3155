"""Writes the generated pages of docs/: `python -m docs.generate`, or `make docs`.

    session    docs/session.html, every byte of the session in docs/session.pcap
    words      what session.html says of each field and of each frame
    protocol   docs/protocol.md, the reference

All come from zkwire's declarations and from the recording, so the same sources give the same pages.
"""

"""Writes the generated pages of docs/: `python -m docs.generate`, or `make docs`.

    session    docs/session.html, every byte of the session in docs/session.pcap
    words      what session.html says about each field and each frame
    protocol   docs/protocol.md, the reference

Both pages follow from zkwire's declarations and the recording, so the same sources give the same pages.
"""

"""The dissector for Wireshark: `dissector.lua` reads frames, by the tables that `dissector.py` puts before it."""

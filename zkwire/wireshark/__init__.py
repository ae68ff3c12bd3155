"""The dissector for Wireshark: `dissector.lua` reads frames with the help of tables that `dissector.py` generates."""

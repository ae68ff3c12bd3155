"""The dissector for Wireshark."""

"""Frames on their way between a client and a server, connection by connection."""

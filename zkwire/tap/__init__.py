"""On trio: a proxy between clients and a server, which shows the frames that pass and injects faults."""

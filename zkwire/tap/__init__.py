"""Between clients and a server, on trio: a proxy that shows what passes and injects faults."""

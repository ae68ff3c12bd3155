"""Service registry: registrations, and live views of the members of a service."""

"""Who provides a service: registrations, and a live view of them."""

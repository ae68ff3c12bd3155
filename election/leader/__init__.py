"""One leader at a time: elections, campaigns, terms, leases."""

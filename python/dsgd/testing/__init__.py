"""Help for testing dsgd and what is built on it."""

"""A request in, a decision out."""

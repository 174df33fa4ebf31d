"""A simulated town whose truth is known: people, what they need, and what an offer does to them."""

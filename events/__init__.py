"""What happened, in which order, to whom: the ground floor."""

"""Events in, knowledge out."""

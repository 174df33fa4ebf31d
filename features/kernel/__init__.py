"""Compiled code on the bytes of a state: what every event and every decision passes through."""

"""The simulated town, lived in by Kairos and by others: who captures how much of its readiness, and how
late.
"""

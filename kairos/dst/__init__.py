"""The whole system in one process under one seed: simulated bus, Redis, clock, engine and HTTP, and their faults."""

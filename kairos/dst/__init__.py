"""The whole system in one process under one seed: simulated ports, real parts, any fault."""

"""The roof: command line, settings, local stack, demo and benchmarks."""

"""Benchmarks: what the service does on this machine, beside what others would do with the same events.

Each prints one table, or with `--json` one object, of medians and ratios. Processor time is the currency:
throughput on a shared machine says more about its neighbours than about the code.
"""

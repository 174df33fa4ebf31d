"""What others would do with the same events and the same playbook: the naive way, and a competent one.

Both are given every kindness: they keep no log, know no repeats, resolve nobody, lose what they hold when
they are killed, and let a value go stale until the customer's next event of that kind.
"""

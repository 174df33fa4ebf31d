"""Where processes leave what they have counted, for metrics and people to read."""

WORKERS_KEY = "kairos:workers"
"""The Redis hash of the workers that share the log: whose counters, and "0/2" for the first of two."""


def counters_key(process: str) -> str:
    """The Redis hash of a process's counters, absolute values.

    >>> counters_key("intake")
    'kairos:counters:intake'
    """
    return f"kairos:counters:{process}"

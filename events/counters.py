"""Where processes leave what they have counted, for metrics and people to read."""


def counters_key(process: str) -> str:
    """The Redis hash of a process's counters, absolute values.

    >>> counters_key("intake")
    'kairos:counters:intake'
    """
    return f"kairos:counters:{process}"

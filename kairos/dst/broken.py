"""A rule that does not hold, and what is no such thing."""


class Broken(Exception):
    """A rule is broken: which, and how."""

    def __init__(self, rule: str, what: str) -> None:
        self.rule, self.what = rule, what
        super().__init__(f"{rule}: {what}")


def of_a_full_redis(fault: BaseException) -> bool:
    """Whether a process may end so: a Redis that is full has refused it a write. It is then started again."""
    if isinstance(fault, BaseExceptionGroup):
        return all(map(of_a_full_redis, fault.exceptions))
    return "command not allowed when used memory > 'maxmemory'" in str(fault)

"""A rule that does not hold."""


class Broken(Exception):
    """A rule is broken: which, and how."""

    def __init__(self, rule: str, what: str) -> None:
        self.rule, self.what = rule, what
        super().__init__(f"{rule}: {what}")


def named(rule: object) -> str:
    """The rule in a sentence."""
    return (getattr(rule, "__doc__", "") or "").strip().splitlines()[0].rstrip(".")

"""The texts in an expression: whole before the parser sees them, and read by the rules that are told.

The parser's own pattern for texts tries every way to read a backslash once a text is not closed, in a time
that doubles with each: 24 of them are seconds, 50 for ever. So quotes are matched here first, in one pass.
"""

import re

from features.bad_expression import BadExpression

_SKIPPED = re.compile(r"[^'\"/]+|//[^\n]*|/")
_CLOSED = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'|\"(?:[^\"\\\n]|\\[^\n])*\"")
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|)"
)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def check_quotes(text: str) -> None:
    """Return when every text of the expression is closed on its line.

    Errors: `BadExpression` at the quote that is not.
    """
    at = 0
    while at < len(text):
        if text[at] not in "'\"":
            skipped = _SKIPPED.match(text, at)
            assert skipped is not None
            at = skipped.end()
            continue
        if text.startswith(text[at] * 3, at):
            raise BadExpression(text, at + 1, "a text in single or double quotes", "three quotes")
        closed = _CLOSED.match(text, at)
        if closed is None:
            hint = f"close it with {text[at]} before the line ends"
            raise BadExpression(text, at + 1, "a text with its second quote", text[at : at + 12], hint)
        at = closed.end()


def read_quoted(text: str, start: int, end: int) -> str:
    r"""The text written in text[start:end], quotes and a leading r included.

    Errors: `BadExpression` at an escape that is none, or at what no event can hold.

    >>> read_quoted(r"'it\'s \u00e9'", 0, 14), read_quoted(r"r'\d'", 0, 5)
    ("it's é", '\\d')
    """
    raw = text[start] in "rR"
    inner = start + (2 if raw else 1)
    for n, each in enumerate(text[inner : end - 1], inner):
        if not each.isprintable():
            hint = f"write it as \\x{ord(each):02x}" if "\0" < each < "\x80" else ""
            raise BadExpression(text, n + 1, "characters that can be seen", f"U+{ord(each):04X}", hint)
    if raw:
        return text[inner : end - 1]
    parts = []
    last = inner
    for escape in _ESCAPE.finditer(text, inner, end - 1):
        short, *codes, octal = escape.groups()
        code = int(octal, 8) if octal else int(next(filter(None, codes), "0"), 16)
        if not short and (not 0 < code < 0x110000 or 0xD800 <= code < 0xE000):
            hint = "write \\\\ for one backslash, or r'...' for a text without escapes"
            raise BadExpression(
                text,
                escape.start() + 1,
                "an escape of a character",
                text[escape.start() : end - 1][:10],
                hint,
            )
        parts += [text[last : escape.start()], _SHORT.get(short, short) if short else chr(code)]
        last = escape.end()
    return "".join([*parts, text[last : end - 1]])

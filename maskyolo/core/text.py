"""Helpers for the wording of messages and reports."""

from __future__ import annotations

import re

__all__ = ["counted", "printable"]

#: C0 without tab and newline, DEL and C1; marks and overrides of the direction of text; separators
#: of lines; surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun; the plural gets an s unless `many` is given.

    >>> counted(1, "frame"), counted(2, "frame"), counted(0, "box", "boxes")
    ('1 frame', '2 frames', '0 boxes')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def printable(text: str) -> str:
    r"""Return a text for the terminal: control characters become `\xNN` or `\uNNNN`.

    Tabs and newlines stay; a carriage return only before a newline.

    >>> print(printable("a\x1b[2Jb\u202ec\udcff"))
    a\x1b[2Jb\u202ec\xff
    """
    return _CONTROL.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    return rf"\x{code:02x}" if code < 256 else rf"\u{code:04x}"

"""Text in a terminal: how wide it is, wrapped to that, marked, and without what would command the terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator

from runtime.masking import without_credentials
from runtime.text import escaped, seen_text

# Stand around what is marked until lines are broken: no cleaned text holds them, and they have no width.
_MARK, _UNMARK = "\x02", "\x03"
_JAMO_OF_A_SYLLABLE = range(0x1160, 0x1200)  # vowels and finals, drawn into the consonant before them
_BOLD, _PLAIN = "\x1b[1;32m", "\x1b[0m"


def shown(text: str) -> str:
    """Return ``text``, a message of some lines, as a terminal or a log may show it: no commands, no credentials."""
    return without_credentials(escaped(text, lines=True))


def one_line(text: str) -> str:
    """Return ``text`` as one line without control and format characters, what is blank as single spaces."""
    return " ".join(seen_text(text).split())


def marked(text: str, start: int, end: int) -> str:
    """Return ``text`` as one line for :func:`wrapped`, with ``text[start:end]`` (characters) marked."""
    parts = (text[:start], text[start:end], text[end:])
    before, inside, after = (re.sub(r"\s+", " ", seen_text(part)) for part in parts)
    return f"{before}{_MARK}{inside}{_UNMARK}{after}".strip()


def columns_of(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: two for a Korean syllable (Unicode, UAX #11)."""
    return sum(map(_columns_of_character, text))


def wrapped(text: str, width: int, first: str = "", others: str = "", colour: bool = False) -> str:
    """Return ``text`` in lines of at most ``width`` columns, what is marked in brackets or in ``colour``.

    Lines break at spaces, and within a word that is wider than a line. ``first`` and ``others`` stand before the first
    line and the others, and count.
    """
    if not colour:
        text = text.replace(_MARK, "[").replace(_UNMARK, "]")
    lines, line, is_marked = [], "", False
    room = max(width - max(columns_of(first), columns_of(others)), 2)
    for word in _pieces(text, room):
        if line and columns_of(line) + columns_of(word) > room:
            lines.append(line.rstrip())
            line = ""
        line += word if line else word.lstrip()
    lines.append(line.rstrip())
    shown = []
    for number, line in enumerate(lines):
        start = _BOLD if is_marked else ""
        is_marked = line.rfind(_MARK) > line.rfind(_UNMARK) or (is_marked and _UNMARK not in line)
        line = line.replace(_MARK, _BOLD).replace(_UNMARK, _PLAIN)
        shown.append((others if number else first) + start + line + (_PLAIN if is_marked else ""))
    return "\n".join(shown)


def terminal_width() -> int:
    """Return the columns of the terminal, 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def shows_colour() -> bool:
    """Whether standard output is a terminal that shows colours, and nobody asked for none (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _pieces(text: str, room: int) -> Iterator[str]:
    """Yield words, each with the space before it, and words wider than ``room`` in pieces that fit."""
    for word in re.findall(r" ?[^ ]+", text):
        piece = ""
        for character in word:
            if columns_of((piece + character).lstrip()) > room:
                yield piece
                piece = ""
            piece += character
        yield piece


def _columns_of_character(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc") or ord(character) in _JAMO_OF_A_SYLLABLE:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

"""Something with flags of its own in one word: ``NAME``, or ``NAME,flag=value,flag=value``.

Items of a list stand between plus signs. What holds a comma, a plus sign or a quotation mark is quoted, and inside
quotes a backslash stands before a quotation mark or a backslash: ``NAME,text="a, b",list=x+"y,flag=1"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_QUOTED = r"""\"(?:[^"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"""
_SPECIAL = re.compile(r"""[,+"'\\]""")


class OneWord(NamedTuple):
    """A name and the flags that were written behind it, their values as they stand there."""

    name: str
    flags: dict[str, str]


def split_word(word: str) -> OneWord:
    """Return the parts of ``word``; ``ValueError`` with the part that is not ``flag=value``."""
    name, *pairs = _split(word, ",")
    flags = {}
    for pair in pairs:
        flag, equals, value = pair.partition("=")
        if not flag or not equals:
            raise ValueError(pair)
        flags[flag] = value
    return OneWord(name, flags)


def items_of(value: str) -> list[str]:
    """Return the items of a list as :func:`split_word` gives it."""
    return [unquoted(item) for item in _split(value, "+")]


def unquoted(value: str) -> str:
    """Return a value without the quotes that are around all of it."""
    if re.fullmatch(_QUOTED, value):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def name_of(word: str) -> str:
    """Return the name at the beginning of ``word``."""
    return word.split(",", 1)[0]


def join_word(name: str, flags: Mapping[str, Any]) -> str:
    """Return the word that :func:`split_word` takes apart again; a value may be a text or a sequence of them."""
    pairs = []
    for flag, value in flags.items():
        items = [value] if isinstance(value, str) else value
        pairs.append(f"{flag}={'+'.join(map(quoted, items))}")
    return ",".join([name, *pairs])


def quoted(item: str) -> str:
    """Return ``item`` with quotes around it if it needs them."""
    if not _SPECIAL.search(item):
        return item
    escaped = re.sub(r"""(["\\])""", r"\\\1", item)
    return f'"{escaped}"'


def _split(text: str, separator: str) -> Sequence[str]:
    """Return what stands between separators that are outside of quotes."""
    pieces = re.findall(rf"""{_QUOTED}|{re.escape(separator)}|[^"'{re.escape(separator)}]+|["']""", text)
    parts = [""]
    for piece in pieces:
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts

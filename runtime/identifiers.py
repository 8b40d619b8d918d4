"""Identifiers as files have them: text, whole numbers, the floats that pandas makes of these, and lists of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

_FLOAT = re.compile(r"-?\d+\.0")
# 'a', "a", 3 and np.int64(3), between blanks or commas
_ITEM = re.compile(r"""'([^']*)'|"([^"]*)"|(?:np\.\w+\()?([^\s,()'"]+)\)?""")


def identifier(value: Any) -> Any:
    """Return an identifier as text: ``"3"`` for 3 and for 3.0; None for a missing one (None, NaN).

    Whatever else it is comes back as it is, for the caller to refuse.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    number: Any = value
    if isinstance(number, Integral) or float(number).is_integer():
        return str(int(number))
    return None if number != number else number


def first_identifier(*values: Any) -> Any:
    """Return the first of ``values`` that is not missing, as :func:`identifier` gives it; None if all are."""
    return next((found for value in values if (found := identifier(value)) is not None), None)


def without_fractions(values: Sequence[str], known: Collection[str] = ()) -> list[str]:
    """Return a column of identifiers from a file without types, where ``"3.0"`` may be what pandas made of 3.

    It is so where all have that form (or are empty) and none is among those ``known`` to be there as they are.
    """
    floats = {value for value in values if value}
    if all(map(_FLOAT.fullmatch, floats)) and floats.isdisjoint(known):
        return [value.removesuffix(".0") for value in values]
    return list(values)


def identifiers_in(value: Any) -> list[str]:
    """Return the identifiers in a cell of a table: one, or those of a list, which may come as the text of a list."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        found = [quoted or also or _of_number(bare) for quoted, also, bare in _ITEM.findall(value[1:-1])]
    else:
        items = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
        found = [identifier(item) for item in items]
    return [str(item) for item in found if item is not None]


def as_cell(identifiers: Sequence[str]) -> str:
    """Return one identifier as it is, several as a JSON list, none as an empty text: see :func:`identifiers_in`."""
    return json.dumps(identifiers, ensure_ascii=False) if len(identifiers) > 1 else "".join(identifiers)


def _of_number(text: str) -> str | None:
    if text in ("nan", "None"):
        return None
    return text.removesuffix(".0") if _FLOAT.fullmatch(text) else text

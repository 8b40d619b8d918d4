"""Identifiers as files have them: text, whole numbers, the floats that pandas makes of these, and lists of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
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
    if isinstance(value, Integral) or float(value).is_integer():
        return str(int(value))
    return None if value != value else value


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


def listed(value: Any) -> str:
    """Return one or several identifiers as text: a list, or the text of one, as JSON (of one item: that item)."""
    if isinstance(value, str):
        if not (value.startswith("[") and value.endswith("]")):
            return value
        found = [quoted or also or _of_number(bare) for quoted, also, bare in _ITEM.findall(value[1:-1])]
    else:
        found = [identifier(item) for item in value]
    items = [str(item) for item in found if item is not None]
    return items[0] if len(items) == 1 else json.dumps(items, ensure_ascii=False) if items else ""


def identifiers_in(text: str) -> list[str]:
    """Return what :func:`listed` made ``text`` of."""
    if text.startswith("["):
        try:
            return [str(item) for item in json.loads(text)]
        except ValueError:  # an identifier that begins like this
            pass
    return [text]


def _of_number(text: str) -> str | None:
    if text in ("nan", "None"):
        return None
    return text.removesuffix(".0") if _FLOAT.fullmatch(text) else text

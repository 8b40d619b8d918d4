"""The door for JSON: what Python's reader dies of, or drops without a word, is a ``ValueError`` with a sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Pairs = Sequence[tuple[Any, Any]]


class RepeatedKeys(ValueError):
    """Keys that stand twice in one object, of which only the last value would be read."""

    def __init__(self, keys: Iterable[Any]) -> None:
        self.keys = list(keys)
        verb = "stands" if len(self.keys) == 1 else "stand"
        super().__init__(f"{', '.join(map(str, self.keys))} {verb} twice in it")


def parse_json(text: str, read_object: Callable[[Pairs], Any] | None = None, **scalars: Any) -> Any:
    """Return what is written in ``text``; ``read_object`` makes something else than a dictionary of an object's pairs.

    ``scalars`` are those of :func:`json.loads`: ``parse_int``, ``parse_float``, ``parse_constant``. Raises
    :class:`json.JSONDecodeError`, :class:`RepeatedKeys` with the keys of all objects, and ``ValueError`` for what nests
    too deeply or holds a number of too many digits.
    """
    repeated: dict[Any, None] = {}

    def without_repetition(pairs: Pairs) -> dict[Any, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            repeated.update(dict.fromkeys(repeated_keys(pairs)))
        return content

    try:
        content = json.loads(text, object_pairs_hook=read_object or without_repetition, **scalars)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except ValueError:
        raise ValueError(f"it holds a number of more than {sys.get_int_max_str_digits()} digits") from None
    if repeated:
        raise RepeatedKeys(repeated)
    return content


def repeated_keys(pairs: Pairs) -> list[Any]:
    """Return the keys that stand in ``pairs`` more than once."""
    seen: set[Any] = set()
    repeated: dict[Any, None] = {}
    for key, _ in pairs:
        if key in seen:
            repeated[key] = None
        seen.add(key)
    return list(repeated)

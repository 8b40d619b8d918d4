"""Kiwi, the Korean morphological analyser, which takes a second to load and is shared by all that need it."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from runtime.errors import UserError


def kiwi(needed_by: str) -> Any:
    """Return the one ``Kiwi`` of this process; raise :class:`UserError` if the package of what needs it is missing."""
    try:
        return _load()
    except ImportError as error:
        raise UserError(f"{needed_by} needs kiwipiepy ({error}): pip install kiwipiepy") from None


@cache
def _load() -> Any:
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=os.cpu_count())

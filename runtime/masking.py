"""Secrets that users give as flags: kept out of files, messages and whatever else reads the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MASK = "***"
_SECRET_NAME = re.compile(r"(.*_)?(token|password|secret|key)")
_CREDENTIALS = re.compile(r"(\w+://)\S*@")  # of a URL


def is_secret(name: str) -> bool:
    """Whether the value of flag ``name``, such as ``hub_token``, is nobody else's business."""
    return _SECRET_NAME.fullmatch(name.lstrip("-").replace("-", "_").lower()) is not None


def masked(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with its secrets as ``***``: values of such flags, credentials of URLs."""
    safe, value_is_secret = [], False
    for word in words:
        flag, equals, _ = word.partition("=")
        if value_is_secret and not word.startswith("--"):
            safe.append(_MASK)
        elif equals and is_secret(flag):
            safe.append(f"{flag}={_MASK}")
        else:
            safe.append(_CREDENTIALS.sub(rf"\1{_MASK}@", word))
        value_is_secret = is_secret(word)
    return safe

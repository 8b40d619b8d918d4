"""Secrets that users give as flags: kept out of files, messages and whatever else reads the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_MASK = "***"
_SECRET_NAME = re.compile(r"(.*_)?(token|password|secret|key)")
_USER = re.compile(r"\w+://[^/\s]*@")  # of a URL
_UP_TO_HOST = re.compile(r"(\w+://)\S*@")  # more than that: a password may hold a slash
_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:token|key|password|passwd|pwd|secret|signature|credential|sig|auth)=)[^&;#,\s'\"]+", re.IGNORECASE
)


def is_secret(name: str) -> bool:
    """Whether the value of flag ``name``, such as ``hub_token``, is nobody else's business."""
    return _SECRET_NAME.fullmatch(name.lstrip("-").replace("-", "_").lower()) is not None


def holds_credentials(value: Any) -> bool:
    """Whether a value is, or holds, a URL with a user or password in it, or with a parameter such as ``?token=``."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(holds_credentials, value))
    return isinstance(value, str) and bool(_USER.search(value) or _PARAMETER.search(value))


def without_credentials(text: str) -> str:
    """Return ``text`` with ``***`` in the place of users, passwords and secret parameters of URLs."""
    return _PARAMETER.sub(rf"\1{_MASK}", _UP_TO_HOST.sub(rf"\1{_MASK}@", text))


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
            safe.append(without_credentials(word))
        value_is_secret = is_secret(word)
    return safe

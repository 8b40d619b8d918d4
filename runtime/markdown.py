"""Text in Markdown."""

from __future__ import annotations

import re

from runtime.text import escaped

_SPECIAL = re.compile(r"([|<\[`])")


def markdown_text(text: str) -> str:
    """Return ``text`` on one line, which ends no cell of a table and is neither HTML, a link, a picture nor code."""
    return _SPECIAL.sub(r"\\\1", escaped(" ".join(text.splitlines())))

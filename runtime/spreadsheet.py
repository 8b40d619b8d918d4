"""Tables for people: CSV that a spreadsheet opens as it is meant, and that runs nothing there."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from runtime.files import staged_file


def write_sheet(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write ``rows`` under ``columns`` as CSV, whole or not at all; every text as :func:`safe_cell` gives it.

    UTF-8 with a byte-order mark, by which Excel knows it. Characters that such a file cannot hold (U+0000, halves of
    surrogate pairs) are replaced. Raises :class:`WriteError` where ``path`` cannot be written.
    """
    with (
        staged_file(path) as staging,
        staging.open("w", encoding="utf-8-sig", errors="replace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(map(safe_cell, columns))
        writer.writerows(map(safe_cell, row) for row in rows)


def safe_cell(value: Any) -> Any:
    """Return a text with an apostrophe before it if a spreadsheet might take it for a formula; others as they are.

    That is a text that begins with ``= + - @`` or a control character. Source: OWASP, CSV Injection,
    https://owasp.org/www-community/attacks/CSV_Injection.
    """
    if not isinstance(value, str) or not value:
        return value
    text = value.replace("\0", "\ufffd")
    return f"'{text}" if value[0] in "=+-@" or unicodedata.category(value[0]) == "Cc" else text

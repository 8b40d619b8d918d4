"""What tells contents apart: SHA-256 (hexadecimal) over rows, over one value, over files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_READ_AT_ONCE = 2**24  # bytes of a file


def hash_rows(rows: Iterable[Any]) -> str:
    """Return the hash of ``rows`` that JSON can hold, in their order and whatever the order of keys."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode("ascii"))
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """Return the hash of one value that JSON can hold; the first digits of it make the key of a cache."""
    return hash_rows([value])


def hash_files(paths: Iterable[Path]) -> str:
    """Return the hash of files: their names, sizes and contents, in the order of ``paths``."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
        with path.open("rb") as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()

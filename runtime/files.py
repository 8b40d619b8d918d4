"""Files and folders that appear whole or not at all: write beside, then rename."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STAGING = ".staging-"


def remove_leftovers(folder: str | Path) -> None:
    """Remove what a killed process had begun to write directly in ``folder``."""
    for leftover in list(Path(folder).glob(f".*{_STAGING}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _usual_mode(path: Path) -> None:
    """Give ``path`` the mode that a plain ``open`` or ``mkdir`` would (``tempfile`` makes it private)."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


@contextmanager
def staged_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it becomes ``path``, on failure it vanishes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}{_STAGING}", dir=path.parent)
    os.close(handle)
    staging = Path(name)
    try:
        yield staging
        _usual_mode(staging)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def staged_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it replaces ``path``, on failure it vanishes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}{_STAGING}", dir=path.parent))
    try:
        yield staging
        for inside in (staging, *staging.rglob("*")):
            _usual_mode(inside)
        if path.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{path.name}{_STAGING}", dir=path.parent))
            path.rename(retired / path.name)
            staging.rename(path)
            shutil.rmtree(retired)
        else:
            staging.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with staged_file(path) as staging:
        staging.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as readable UTF-8 JSON, Korean not escaped, whole or not at all."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file of ours."""
    return json.loads(Path(path).read_text(encoding="utf-8"))

"""The folder of a run: may it be written, and what was there before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.errors import UserError
from runtime.files import finish_moves, read_json, remove, remove_leftovers, write_json
from runtime.log import get_logger

logger = get_logger(__name__)

_RUN_RECORD = "arguments.json"
_FILES = re.compile("arguments.json|environment.json|metrics.jsonl?")
_FOLDERS = re.compile("checkpoint-[0-9]+|best|resume|p_encoder|q_encoder|token_encoder")
_LONGEST_NAME = 200  # of the 255 bytes that file systems allow; temporary names beside it are longer


def fault_of_run_name(name: str) -> str | None:
    """Return why ``name`` cannot be the name of a run's folder; None if it can."""
    if not name or not name.isprintable() or name[0] in ". " or any(mark in name for mark in "/\\"):
        return "must name one folder inside another: no slash, no dot or blank at its beginning"
    if len(name.encode()) > _LONGEST_NAME:
        return f"must have at most {_LONGEST_NAME} bytes"
    if _FILES.fullmatch(name) or _FOLDERS.fullmatch(name):
        return "is what a run names its own files"
    return None


def check_output_dir(output_dir: str | Path, overwrite: bool, resume: bool, flag: str = "--output_dir") -> None:
    """Raise :class:`UserError` if ``output_dir`` holds a run that is neither to be resumed nor overwritten.

    ``flag`` is what named it.
    """
    folder = Path(output_dir)
    earlier = _files_of_a_run(folder)
    if earlier and not (overwrite or resume):
        raise UserError(
            f"{flag} {folder} already holds a run: continue it with --resume_from_checkpoint true, "
            f"replace it with --overwrite_output_dir, or name another folder (found {earlier[0].name})"
        )


def open_output_dir(output_dir: str | Path, resume: bool, records: Mapping[str, Any]) -> None:
    """Make the folder and write what the run is, ``records`` as ``<key>.json``.

    Without ``resume``, the files of an earlier run in it are removed first, and nothing else.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for inside in (folder, folder / "resume"):
        remove_leftovers(inside)
    finish_moves(folder)
    if not resume:
        for old in _files_of_a_run(folder):
            remove(old)
    for name, record in records.items():
        write_json(folder / f"{name}.json", record)


def find_model(name: str) -> str:
    """Return the folder of the model that ``name`` means: of a training run its ``best/``, else ``name`` itself.

    Raises :class:`UserError` for a run that has none yet.
    """
    folder = Path(name)
    encoders = any((folder / encoder).is_dir() for encoder in ("p_encoder", "token_encoder"))
    if not folder.is_dir() or (folder / "config.json").is_file() or encoders:
        return name
    if (folder / "best").is_dir():
        logger.info("%s is a training run: its best/ is taken", name)
        return str(folder / "best")
    if not _files_of_a_run(folder):
        return name
    checkpoints = [path for path in folder.glob("checkpoint-*") if (path / "config.json").is_file()]
    newest = max(checkpoints, key=lambda path: path.stat().st_mtime, default=None)
    instead = f", or name a checkpoint of it, such as {newest}" if newest else ""
    raise UserError(f"{name} is a training run that has no best/ yet: let it end{instead}")


def _files_of_a_run(folder: Path) -> list[Path]:
    """Return what a run writes, by name and kind; also links of such a name, which are not followed."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if (_FOLDERS.fullmatch(path.name) and path.is_dir())
        or (_FILES.fullmatch(path.name) and path.is_file())
        or (path.is_symlink() and fault_of_run_name(path.name))
    ]


def warn_of_changes(output_dir: str | Path, arguments: dict[str, Any]) -> None:
    """Warn when a resumed run's ``arguments`` differ from the ones it was started with."""
    path = Path(output_dir) / _RUN_RECORD
    if not path.exists():
        return
    try:
        before = read_record(path)
    except UserError as error:
        logger.warning("whether flags have changed cannot be told: %s", error)
        return
    free = {"resume_from_checkpoint", "overwrite_output_dir"}
    changed = [name for name in arguments if name in before and before[name] != arguments[name] and name not in free]
    for name in changed:
        logger.warning("--%s was %s when the run began and is %s now", name, before[name], arguments[name])


def read_record(path: str | Path) -> dict[str, Any]:
    """Return what a JSON file of a run says, such as ``metrics.json``; :class:`UserError` if it is damaged."""
    try:
        content = read_json(path)
        reason = "is no JSON object"
    except (OSError, ValueError, RecursionError) as error:
        content, reason = None, f"cannot be read ({error})"
    if not isinstance(content, dict):
        raise UserError(f"{path} {reason}: copy the run again, or train it again")
    return content

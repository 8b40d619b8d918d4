"""Checksums of the files that we write for ourselves, so that a damaged one is never taken for whole.

A folder holds those of its files in ``checksums.json``, a single file its own in a file beside it. They are XXH3 (128
bits) of the whole content, as fast as the content can be read; they find damage, and keep nobody from forging a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import xxhash

from runtime.files import read_json, staged_file, staged_folder, write_json, write_text

CHECKSUMS_NAME = "checksums.json"
_SUFFIX = ".xxh3"
_READ_AT_ONCE = 2**24  # bytes of a file


def checksum(path: str | Path) -> str:
    """Return the checksum of the content of a file, hexadecimal."""
    digest = xxhash.xxh3_128()
    with Path(path).open("rb") as file:
        while block := file.read(_READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def write_checksums(folder: str | Path) -> None:
    """Write the checksums of all files in ``folder`` and below; what is added later is not checked."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS_NAME)
    write_json(folder / CHECKSUMS_NAME, {path.relative_to(folder).as_posix(): checksum(path) for path in files})


@contextmanager
def sealed_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` as ``staged_folder`` has it, with the checksums of its files."""
    with staged_folder(path) as staging:
        yield staging
        write_checksums(staging)


def fault_of_folder(folder: str | Path, patterns: Sequence[str] = ("*",)) -> str | None:
    """Return which file of ``folder`` is not as :func:`write_checksums` saw it, and how; None if all are.

    Only files whose path in ``folder`` is like one of ``patterns`` are looked at.
    """
    folder = Path(folder)
    try:
        written = read_json(folder / CHECKSUMS_NAME)
    except FileNotFoundError:
        return f"{CHECKSUMS_NAME} is missing"
    except (OSError, ValueError, RecursionError):
        written = None
    if not isinstance(written, dict) or not written:
        return f"{CHECKSUMS_NAME} is damaged"
    chosen = {name: expected for name, expected in written.items() if any(fnmatchcase(name, like) for like in patterns)}
    faults = (_fault(folder / name, expected, name) for name, expected in chosen.items())
    return next((fault for fault in faults if fault is not None), None)


@contextmanager
def sealed_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that becomes ``path`` as ``staged_file`` has it, with its checksum."""
    with staged_file(path) as staging:
        yield staging
        _write_seal(path, staging)  # first: a file with the checksum of another is damaged, one without is, too


def seal_file(path: str | Path) -> None:
    """Write the checksum of a file that another library wrote."""
    _write_seal(path, path)


def fault_of_file(path: str | Path) -> str | None:
    """Return what is wrong with a file that was sealed; None if it is as it was."""
    try:
        expected = _seal_of(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "it has no checksum"
    except (OSError, ValueError):
        expected = ""
    return _fault(Path(path), expected, "it")


def _fault(path: Path, expected: object, name: str) -> str | None:
    try:
        return None if checksum(path) == expected else f"{name} is not as it was written"
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} is missing"
    except (OSError, ValueError) as error:
        return f"{name} cannot be read: {error}"


def _write_seal(path: str | Path, content: str | Path) -> None:
    write_text(_seal_of(path), checksum(content) + "\n")


def _seal_of(path: str | Path) -> Path:
    return Path(f"{path}{_SUFFIX}")

"""Files and folders that appear whole or not at all: write beside, then rename."""

from __future__ import annotations

import filecmp
import gzip
import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.errors import DataError, Problem, UserError
from runtime.strict_json import RepeatedKeys, parse_json

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

_STAGING = ".staging-"
_COMING = ".coming"
_WEIGHTS = ".safetensors"
_BLOCK = 1 << 20  # bytes that are unpacked at once
_SMALL, MOST_UNPACKED = 1 << 28, 100  # bytes that may come from any file, and times its size that texts never reach


def remove_leftovers(folder: str | Path) -> None:
    """Remove what killed processes had half written directly in ``folder``; what is being written now stays.

    A folder that was about to be replaced by a new one is put back.
    """
    folder = Path(folder)
    for leftover in list(folder.glob(f".*{_STAGING}*")):
        if _is_being_written(leftover):
            continue
        name = leftover.name[1:].rpartition(_STAGING)[0]
        with suppress(OSError):  # the folder may be somebody else's, to read only
            if (leftover / name).exists() and not (folder / name).exists():
                (leftover / name).rename(folder / name)
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def _is_being_written(staging: Path) -> bool:
    """Whether a living process holds ``staging``; said of all where the file system has no locks."""
    try:
        handle = os.open(staging, os.O_RDONLY)
    except FileNotFoundError:  # it is done
        return True
    try:
        return not _hold(handle)
    finally:
        os.close(handle)


def _hold(handle: int) -> bool:
    """Hold what is open as ``handle`` until that is closed, at the latest by the end of the process."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _held(staging: Path) -> Iterator[None]:
    """Tell other processes, while the block runs, that ``staging`` is no leftover."""
    if fcntl is None:
        yield
        return
    handle = os.open(staging, os.O_RDONLY)
    try:
        _hold(handle)
        yield
    finally:
        os.close(handle)


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
        with _held(staging):
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
        with _held(staging):
            yield staging
            for inside in (staging, *staging.rglob("*")):
                _usual_mode(inside)
            _replace(path, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def staged_together(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on success all that is in it takes its place in ``folder`` at once.

    At once for whoever asks :func:`newest` where things are: several renames take a moment, in which the process can
    be killed; :func:`finish_moves` completes them.
    """
    folder = Path(folder)
    finish_moves(folder)
    with staged_folder(folder / _COMING) as staging:
        yield staging
    finish_moves(folder)


def newest(folder: str | Path, name: str) -> Path:
    """Return where the current ``name`` of ``folder`` is, whenever :func:`staged_together` may have been stopped."""
    coming = Path(folder) / _COMING / name
    return coming if coming.exists() else Path(folder) / name


def finish_moves(folder: str | Path) -> None:
    """Complete what a stopped :func:`staged_together` had started to put in place."""
    folder = Path(folder)
    if not (folder / _COMING).exists():
        return
    for coming in sorted((folder / _COMING).iterdir()):
        _replace(folder / coming.name, coming)
    (folder / _COMING).rmdir()


def _replace(path: Path, by: Path) -> None:
    """Rename ``by`` to ``path``, in place of whatever is there."""
    if path.exists():
        retired = Path(tempfile.mkdtemp(prefix=f".{path.name}{_STAGING}", dir=path.parent))
        old = retired / path.name
        try:
            path.rename(old)
            by.rename(path)
        except BaseException:  # Ctrl-C, too, may come between the two
            if not path.exists():
                old.rename(path)
            shutil.rmtree(retired, ignore_errors=True)
            raise
        shutil.rmtree(retired)
    else:
        by.replace(path)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make ``target`` another name of the file ``source`` if that holds weights, else a copy: for ``shutil.copytree``.

    Two names take the room of one. Neither folder notices when the other is removed or replaced, since no weights are
    ever written into, only replaced by a rename. Where the file system has no hard links, weights are copied too.
    """
    if not (str(source).endswith(_WEIGHTS) and _linked(source, target)):
        shutil.copy2(source, target)


def share_weights(folder: str | Path, original: str | Path) -> None:
    """Let the weights of ``folder`` that equal those of the same name in ``original`` take no room of their own."""
    for path in Path(folder).glob(f"*{_WEIGHTS}"):
        twin, link = Path(original) / path.name, path.with_name(f".{path.name}{_STAGING}link")
        if twin.is_file() and not path.samefile(twin) and filecmp.cmp(path, twin, shallow=False):
            link.unlink(missing_ok=True)
            if _linked(twin, link):
                link.replace(path)


def _linked(source: str | Path, target: str | Path) -> bool:
    """Make ``target`` another name of ``source``; return whether the file system can do that."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def first_there(places: Sequence[str]) -> str:
    """Return the first of several paths that exists, of none the first."""
    return next((place for place in places if Path(place).exists()), places[0])


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with staged_file(path) as staging:
        staging.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as readable UTF-8 JSON, Korean not escaped, whole or not at all.

    Raises :class:`UserError` as :func:`json_text` does.
    """
    write_text(path, json_text(path, content, ensure_ascii=False, indent=2) + "\n")


def json_text(path: str | Path, content: Any, **layout: Any) -> str:
    """Return ``content`` as JSON, which is to be written to ``path``.

    Raises :class:`UserError` for nan and infinity: JSON has no such numbers, and most readers of it refuse them.
    """
    try:
        return json.dumps(content, allow_nan=False, **layout)
    except ValueError:
        name, value = next(_not_finite(content))
        raise UserError(f"{path} is not written: {name} is {value}, and JSON has no such number") from None


def _not_finite(content: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in ``content`` that JSON cannot hold, each with the keys that lead to it."""
    if isinstance(content, float) and not math.isfinite(content):
        yield name, content
    elif isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _not_finite(value, f"{name}.{key}".removeprefix("."))


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file of ours; NaN and Infinity, which earlier versions wrote, are None.

    Raises ``ValueError`` for whatever is not JSON.
    """
    return parse_json(Path(path).read_text(encoding="utf-8"), parse_constant=lambda name: None)


def read_users_json(path: str | Path) -> Any:
    """Return the content of a JSON file from elsewhere, gzipped where its name ends in ``.gz``.

    :class:`DataError` says what is wrong with it and where, and names every key that stands twice in an object.
    """
    try:
        return parse_json(read_users_text(path))
    except json.JSONDecodeError as error:
        reason = f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    except RepeatedKeys as error:
        reason = "stands twice in one object, of which only the last would be read"
        raise DataError([Problem(str(path), f"key {key!r}", reason) for key in error.keys]) from None
    except ValueError as error:
        reason = f"cannot be read: {error}"
    raise DataError([Problem(str(path), "", reason)])


def read_users_text(path: str | Path) -> str:
    """Return the text of a UTF-8 file from elsewhere, gzipped where its name ends in ``.gz``, without byte-order mark.

    :class:`DataError` says what is wrong with it, and of another encoding how to convert it.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = _unpacked(path)
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        reason = f"is not UTF-8: {found}{_conversion(path, content)}"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = f"is a damaged gzip file: {error}"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    raise DataError([Problem(str(path), "", reason)])


def _unpacked(path: Path) -> bytes:
    """Return what is in a gzip file; ``OSError`` where that grows as no text does, before it fills the memory."""
    most = max(_SMALL, MOST_UNPACKED * path.stat().st_size)
    blocks, size = [], 0
    with gzip.open(path) as file:
        while block := file.read(_BLOCK):
            blocks.append(block)
            size += len(block)
            if size > most:
                raise OSError(f"it unpacks to more than {MOST_UNPACKED} times its size, which no text does")
    return b"".join(blocks)


def check_unpacked(path: str | Path, size: int) -> None:
    """Raise :class:`DataError` for a compressed file that holds ``size`` bytes, which is more than any data have."""
    if size > max(_SMALL, MOST_UNPACKED * Path(path).stat().st_size):
        reason = f"holds more than {MOST_UNPACKED} times its size, which no text does"
        raise DataError([Problem(str(path), "", reason)])


def _conversion(path: Path, content: bytes) -> str:
    """Say in which other encoding ``content`` is, if that is plain, and how to convert it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "UTF-16"
    else:
        try:
            content.decode("cp949")
        except UnicodeDecodeError:
            return ""
        encoding = "CP949"
    name = path.name.removesuffix(".gz")
    return f"; it reads as {encoding}, which iconv -f {encoding} -t UTF-8 {name} > utf-8-{name} converts"

"""Files and folders that appear whole or not at all: write beside, then rename."""

from __future__ import annotations

import filecmp
import glob
import gzip
import json
import math
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.errors import DataError, Problem, UserError, WriteError, refusal_of
from runtime.strict_json import Pairs, RepeatedKeys, parse_json

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

STAGING_MARK = ".staging-"
_COMING = ".coming"
_WEIGHTS = ".safetensors"
_BLOCK = 1 << 20  # bytes that are unpacked at once
_SMALL, MOST_UNPACKED = 1 << 28, 100  # bytes that may come from any file, and times its size that texts never reach


def remove_leftovers(folder: str | Path, name: str = "*") -> None:
    """Remove what killed processes had half written directly in ``folder``; what is being written now stays.

    A folder that was about to be replaced by a new one is put back. ``name`` confines it to what was to become that.
    """
    folder = Path(folder)
    for leftover in list(folder.glob(f".{name}{STAGING_MARK}*")):
        with suppress(OSError), _opened(leftover) as handle:  # the folder may be somebody else's, to read only
            if _hold(handle) and is_at(leftover, handle):
                was = leftover.name[1:].rpartition(STAGING_MARK)[0]
                if (leftover / was).exists() and not (folder / was).exists():
                    (leftover / was).rename(folder / was)
                remove(leftover)


def remove_old(paths: Iterable[Path], days: int) -> None:
    """Remove files, and folders of files, in which nothing was changed for so many ``days``: no process does any more.

    It is for what others write, which cannot be seen to be held.
    """
    before = time.time() - days * 24 * 60 * 60
    for path in list(paths):
        with suppress(OSError):
            if max(inside.lstat().st_mtime for inside in (path, *path.glob("*"))) < before:
                remove(path)


def remove(path: str | Path) -> None:
    """Remove a file, a folder with all that is in it, or a link, which is not followed, if it is there.

    A folder loses its name first: a process that is killed meanwhile leaves no part of it there.
    """
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        if STAGING_MARK not in path.name:
            nameless = path.with_name(f".{path.name}{STAGING_MARK}removed")
            shutil.rmtree(nameless, ignore_errors=True)  # of a process that was killed
            with suppress(OSError):  # its name is too long for that
                path = path.rename(nameless)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        yield handle
    finally:
        os.close(handle)


def _hold(handle: int, wait: bool = False) -> bool:
    """Hold what is open as ``handle`` until that is closed, at the latest by the end of the process.

    False where another process holds it, unless this is to ``wait`` for that, and where the file system has no locks.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def is_at(path: str | Path, handle: int) -> bool:
    """Whether ``path`` is still what was opened as ``handle``."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Raise :class:`WriteError`, naming ``path`` and the way out, for what the system refuses in the block.

    What it refuses about files elsewhere is left as it is.
    """
    try:
        yield
    except Exception as error:
        refusal, named = refusal_of(error), getattr(error, "filename", None)
        is_said = isinstance(error, WriteError) and STAGING_MARK not in str(named)
        if refusal is None or is_said or (isinstance(named, str | bytes | Path) and not _belongs_to(named, path)):
            raise
        raise WriteError(path, refusal) from error


def _belongs_to(named: str | bytes | Path, path: str | Path) -> bool:
    """Whether ``named`` is ``path``, in it, its staging or a folder that it lies in."""
    here, other = (Path(os.path.abspath(os.fsdecode(one))) for one in (path, named))
    staging = str(here.parent / f".{here.name}{STAGING_MARK}")
    return here.is_relative_to(other) or other.is_relative_to(here) or str(other).startswith(staging)


def _usual_mode(path: Path) -> None:
    """Give ``path`` the mode that a plain ``open`` or ``mkdir`` would (``tempfile`` makes it private)."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


@contextmanager
def staged_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it becomes ``path``, on failure it vanishes.

    Raises :class:`WriteError` for what the system refuses.
    """
    path = Path(path)
    remove_leftovers(path.parent, glob.escape(path.name))
    with writing(path), _staging_of(path, _new_file) as staging:
        yield staging
        _usual_mode(staging)
        staging.replace(path)


@contextmanager
def staged_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it replaces ``path``, on failure it vanishes.

    Raises :class:`WriteError` for what the system refuses.
    """
    path = Path(path)
    remove_leftovers(path.parent, glob.escape(path.name))
    with scratch_folder(path) as staging:
        yield staging
        for inside in (staging, *staging.rglob("*")):
            _usual_mode(inside)
        _replace(path, staging)


@contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that vanishes with what is left in it.

    Raises :class:`WriteError` for what the system refuses.
    """
    path = Path(path)
    with writing(path), _staging_of(path, tempfile.mkdtemp) as staging:
        yield staging


def _new_file(prefix: str, dir: Path) -> str:
    handle, name = tempfile.mkstemp(prefix=prefix, dir=dir)
    os.close(handle)
    return name


@contextmanager
def _staging_of(path: Path, make: Callable[..., str]) -> Iterator[Path]:
    """Yield something new beside ``path``, held; what is still there after the block is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging, handle = _new_and_held(path, make)
    with ExitStack() as at_the_end:
        if handle is not None:
            at_the_end.callback(os.close, handle)
        at_the_end.callback(remove, staging)
        yield staging


def _new_and_held(path: Path, make: Callable[..., str]) -> tuple[Path, int | None]:
    while True:
        staging = Path(make(prefix=f".{path.name}{STAGING_MARK}", dir=path.parent))
        if fcntl is None:
            return staging, None
        with suppress(FileNotFoundError):  # another process took it for a leftover before it was held
            handle = os.open(staging, os.O_RDONLY)
            _hold(handle, wait=True)
            if is_at(staging, handle):
                return staging, handle
            os.close(handle)


@contextmanager
def staged_together(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on success all that is in it takes its place in ``folder`` at once.

    At once for whoever asks :func:`newest` where things are: several renames take a moment, in which the process can
    be killed; :func:`finish_moves` completes them.
    """
    folder = Path(folder)
    with writing(folder):
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
    """Rename ``by`` to ``path``, in place of whatever is there: a link is replaced, not followed."""
    if not os.path.lexists(path):
        by.replace(path)
        return
    with _staging_of(path, tempfile.mkdtemp) as retired:
        old = retired / path.name
        try:
            path.rename(old)
            by.rename(path)
        except BaseException:  # Ctrl-C, too, may come between the two
            if not os.path.lexists(path):
                old.rename(path)
            raise


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
        twin, link = Path(original) / path.name, path.with_name(f".{path.name}{STAGING_MARK}link")
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


@contextmanager
def json_in_parts(path: str | Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield what writes entries of a JSON object, some at a time; after the block it is there as by :func:`write_json`.

    So that what is long is never in memory as a whole. Raises :class:`UserError` as :func:`json_text` does.
    """
    with staged_file(path) as staging, staging.open("w", encoding="utf-8") as file:
        before = ""

        def write(entries: Mapping[str, Any]) -> None:
            nonlocal before
            if entries:
                text = json_text(path, entries, ensure_ascii=False, indent=2)
                file.write((before or "{") + text.removeprefix("{").removesuffix("\n}"))
                before = ","

        yield write
        file.write("\n}\n" if before else "{}\n")


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


def read_users_json(path: str | Path, read_object: Callable[[Pairs], Any] | None = None) -> Any:
    """Return the content of a JSON file from elsewhere, gzipped where its name ends in ``.gz``.

    :class:`DataError` says what is wrong with it and where, and names every key that stands twice in an object, which
    ``read_object``, as for :func:`parse_json`, has to see to itself.
    """
    try:
        return parse_json(read_users_text(path), read_object)
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

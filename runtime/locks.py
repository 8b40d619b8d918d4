"""One command at a time writes into a folder: a lock that vanishes with its process, however that ends."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.errors import UserError, refusal_of
from runtime.files import STAGING_MARK, is_at, remove_leftovers
from runtime.log import get_logger

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

logger = get_logger(__name__)

_NAME = ".lock"
_LONGEST_NAME = 255  # bytes, in about every file system
_ROOM = 4096  # bytes, a block
_WAIT = 0.1  # seconds between two looks whether another process is done
_held: set[Path] = set()  # POSIX locks do not hold against their own process


@contextmanager
def claimed(folder: str | Path, flag: str = "--output_dir") -> Iterator[None]:
    """Make ``folder`` and keep other commands out of it while the block runs; ``flag`` is what named it.

    Raises :class:`UserError` where another command has it, naming process and host, and where it cannot be written.
    What a killed command had half written is removed first, and folders that are made and stay empty at the end. Where
    a file system has no locks, what the lock file says decides: that a process has ended is known on its own host only.
    """
    folder = Path(folder)
    check_writable(folder, flag)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder.resolve() / _NAME
            handle = _take(path, folder, flag)
        except OSError as error:
            raise UserError(f"{flag} {folder} cannot be written: {refusal_of(error) or error}") from None
        _held.add(path)
        try:
            remove_leftovers(folder)
            yield
        finally:
            _held.discard(path)
            if is_at(path, handle):  # the folder may have been replaced by another
                path.unlink()
            os.close(handle)
    finally:
        for new in made:
            with suppress(OSError):  # it holds something
                new.rmdir()


@contextmanager
def turn_at(path: Path) -> Iterator[None]:
    """Let the block run in one process at a time: the others that are here for ``path`` wait, and say so.

    ``path`` is a file that is there in the meantime, in a folder that can be written. Where a file system has no locks,
    nobody waits.
    """
    handle, waits = _open(path), False
    while (locked := _lock(handle)) is False or (locked and not is_at(path, handle)):
        os.close(handle)
        if locked is False:
            if not waits:
                logger.info("waiting for another process (%s)", path)
            waits = True
            time.sleep(_WAIT)
        handle = _open(path)
    try:
        yield
    finally:
        if is_at(path, handle):
            path.unlink()
        os.close(handle)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def check_writable(folder: str | Path, flag: str) -> None:
    """Raise :class:`UserError` if ``folder`` can neither be written nor made; ``flag`` is what named it."""
    if fault := fault_of_folder(folder):
        raise UserError(f"{flag} {folder} {fault}")


def fault_of_folder(folder: str | Path) -> str | None:
    """Return why ``folder`` can neither be written nor made; None if a file could be written there, which then was.

    That file has no name, or loses it at once: it is seen by nobody and gone with the process.
    """
    folder = nearest = Path(folder)
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        if nearest == folder:
            return "is not a folder; name another one"
        return f"cannot be written: {nearest} is not a folder; name another one"
    try:
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in folder.parts):
            raise OSError(errno.ENAMETOOLONG, "")
        with suppress(FileNotFoundError):
            os.lstat(folder)  # the whole path may be too long
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        return f"cannot be written: {refusal_of(error) or error}"
    return None


def fault_of_file(path: str | Path) -> str | None:
    """Return why the file ``path`` can neither be written nor made, as :func:`fault_of_folder` does."""
    path = Path(path)
    if os.path.isdir(path):
        return "is a folder: name a file"
    if len(os.fsencode(path.name)) > _LONGEST_NAME - len(STAGING_MARK) - 2 * 8:  # it is written beside first
        return f"cannot be written: {refusal_of(OSError(errno.ENAMETOOLONG, ''))}"
    if os.path.lexists(path.parent) and not path.parent.is_dir():
        return f"cannot be written: {path.parent} is not a folder; name another one"
    return fault_of_folder(path.parent)


def _take(path: Path, folder: Path, flag: str) -> int:
    """Return the open lock file ``path``, locked."""
    own = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    if path in _held:
        raise _in_use(folder, flag, own)
    while True:
        handle = _open(path)
        try:
            locked, holder = _lock(handle), _read(handle)
            if locked is False:
                raise _in_use(folder, flag, holder)
            if locked is None and _may_be_alive(holder):
                raise _in_use(folder, flag, holder, f" (if that has ended, remove {path})")
            if is_at(path, handle):
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(own).encode(), 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the process before removed the file after it was opened here: there may be another now


def _lock(handle: int) -> bool | None:
    """Lock the open file; return whether that was possible, None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, not shared with processes forked off
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _read(handle: int) -> dict[str, Any]:
    """Return what the lock file says of its process; nothing where that is only about to write it."""
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) and isinstance(holder.get("process"), int) else {}


def _may_be_alive(holder: dict[str, Any]) -> bool:
    if holder.get("host") != socket.gethostname():
        return bool(holder)
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _in_use(folder: Path, flag: str, holder: dict[str, Any], way_out: str = "") -> UserError:
    who = "another process"
    if holder:
        who = f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')}"
    return UserError(f"{flag} {folder} is in use by {who}: wait for it, end it, or name another folder{way_out}")

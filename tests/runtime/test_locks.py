"""A folder is written by one command at a time, and by the next one once that has ended, however it did."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime import locks
from runtime.errors import UserError
from runtime.files import staged_folder, write_text
from runtime.locks import check_writable, claimed, fault_of_file, fault_of_folder, turn_at

ROOT = Path(__file__).resolve().parents[2]
IN_USE = "{flag} {folder} is in use by process {process} on {host}, since .*: wait for it, end it, or name another"


@contextmanager
def other_command(folder: Path) -> Iterator[subprocess.Popen]:
    """Another process that has claimed ``folder``, until its standard input is closed."""
    code = f"from runtime.locks import *\nwith claimed({str(folder)!r}): print(flush=True); input()"
    words = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=ROOT, **pipes) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def refusal(folder: Path, process: int, flag: str = "--output_dir") -> str:
    return IN_USE.format(flag=flag, folder=re.escape(str(folder)), process=process, host=socket.gethostname())


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with other_command(tmp_path / "run") as first:
        for folder in (tmp_path / "run", tmp_path / "elsewhere" / ".." / "run"):
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            with pytest.raises(UserError, match=refusal(folder, first.pid, "--retriever_dir")):
                claimed(folder, "--retriever_dir").__enter__()
        with claimed(tmp_path / "another"):
            pass
        first.communicate(b"\n")
    with claimed(tmp_path / "run"):
        pass


def test_a_killed_command_holds_nothing(tmp_path: Path) -> None:
    with other_command(tmp_path) as first:
        first.kill()
        first.wait()
    assert (tmp_path / ".lock").exists()
    with claimed(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_process_refuses_itself_and_has_it_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path):
        with pytest.raises(UserError, match=refusal(tmp_path, os.getpid())):
            claimed(tmp_path).__enter__()
        raise ZeroDivisionError
    with claimed(tmp_path):
        pass


def test_a_forked_process_does_not_keep_it(tmp_path: Path) -> None:
    """A worker of a pool outlives a process that is killed."""
    code = f"""
import os, time
from runtime.locks import claimed
claim = claimed({str(tmp_path)!r})
claim.__enter__()
if (child := os.fork()) == 0:
    os.close(1)
    time.sleep(60)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        with claimed(tmp_path):
            pass
    finally:
        os.kill(int(killed.stdout), 9)


def test_there_is_never_more_than_one(tmp_path: Path) -> None:
    """Taken and given back many times by several processes: each finds the folder as the last one left it."""
    code = f"""
from pathlib import Path
from runtime.errors import UserError
from runtime.locks import claimed
folder, taken = Path({str(tmp_path)!r}), 0
while taken < 40:
    try:
        with claimed(folder):
            (folder / "inside").mkdir()
            (folder / "inside").rmdir()
            taken += 1
    except UserError:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_folders_that_stay_empty_are_removed(tmp_path: Path) -> None:
    with claimed(tmp_path / "a" / "b" / "c"):
        assert (tmp_path / "a" / "b" / "c").is_dir()
        (tmp_path / "a" / "kept").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


# ------------------------------------------------------------------------------------------------ without locks


@pytest.fixture(params=["no such call", "no lock server"])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot lock."""
    if request.param == "no such call":
        monkeypatch.setattr(locks, "fcntl", None)
        return

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)


def test_without_locks_the_living_process_decides(tmp_path: Path, no_locks: None) -> None:
    with other_command(tmp_path) as first:
        way_out = re.escape(f" folder (if that has ended, remove {tmp_path / '.lock'})")
        with pytest.raises(UserError, match=refusal(tmp_path, first.pid) + way_out):
            claimed(tmp_path).__enter__()
        first.kill()
        first.wait()
    with claimed(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_without_locks_nothing_is_known_of_another_host(tmp_path: Path, no_locks: None) -> None:
    (tmp_path / ".lock").write_text('{"process": 1, "host": "elsewhere", "since": "2024-01-01 12:00:00"}')
    with pytest.raises(UserError, match=r"process 1 on elsewhere, since 2024-01-01 12:00:00.*remove"):
        claimed(tmp_path).__enter__()
    (tmp_path / ".lock").write_text("half a li")
    with claimed(tmp_path):
        pass


# -------------------------------------------------------------------------------------------- cannot be written


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(UserError, match=r"^--output_dir .*out is not a folder; name another one$"):
        claimed(tmp_path / "out").__enter__()
    with pytest.raises(UserError, match=r"out/deep cannot be written: .*out is not a folder; name another one"):
        claimed(tmp_path / "out" / "deep").__enter__()
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.parametrize("function", ["open", "pwrite"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"runtime.locks.os.{function}", refuse)
    with pytest.raises(UserError, match=f"^--output_dir .*new cannot be written: {os.strerror(code)}; .*name another"):
        claimed(tmp_path / "new").__enter__()


def test_what_can_be_written_is_found_out_without_a_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "--index_dir")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(UserError, match=f"^--index_dir {path} .*is not a folder"):
            check_writable(path, "--index_dir")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_found_out_by_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Root may write everywhere, so it says; a full disk still makes empty files."""

    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, content: bytes) -> None:
            assert len(content) >= 4096
            raise OSError(code, "")

    monkeypatch.setattr("runtime.locks.tempfile.TemporaryFile", lambda dir: Full())
    refusal = f"cannot be written: {os.strerror(code)}; .*name another folder$"
    for fault in (fault_of_folder(tmp_path / "a" / "b"), fault_of_file(tmp_path / "a" / "b.csv")):
        assert re.match(refusal, fault or "")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    too_long = "cannot be written: File name too long; give it a shorter name"
    for folder in (tmp_path / ("가" * 86), tmp_path / "new" / ("x" * 256) / "b", tmp_path.joinpath(*["x" * 200] * 25)):
        assert fault_of_folder(folder) == fault_of_file(folder / "a") == too_long
    assert fault_of_folder(tmp_path / ("x" * 255)) is None
    assert fault_of_file(tmp_path / ("x" * 250)) == too_long  # it is written beside first, under a longer name
    longest = tmp_path / ("x" * 230)
    assert fault_of_file(longest) is None
    write_text(longest, "")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert fault_of_file(tmp_path) == "is a folder: name a file"
    (tmp_path / "file").touch()
    assert fault_of_file(tmp_path / "file") is None


def test_a_folder_that_another_replaced_keeps_the_lock_of_the_next(tmp_path: Path) -> None:
    with claimed(tmp_path / "a"):
        with staged_folder(tmp_path / "a"):
            pass
        (tmp_path / "a" / ".lock").write_text("of the next")
    assert (tmp_path / "a" / ".lock").read_text() == "of the next"


def test_processes_take_turns_and_the_lock_is_gone_afterwards(tmp_path: Path) -> None:
    code = """import sys, time
from pathlib import Path
from runtime.locks import turn_at
with turn_at(Path(".index.lock")), Path("log").open("a") as log:
    for word in ("begins", "ends"):
        print(sys.argv[1], word, file=log, flush=True)
        time.sleep(0.2)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen([*command, str(n)], cwd=tmp_path, env=environment) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [word for _, word in lines] == ["begins", "ends"] * 3
    assert [name for name, _ in lines[::2]] == [name for name, _ in lines[1::2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".index.lock").touch()
    with turn_at(tmp_path / ".index.lock"):
        assert (tmp_path / ".index.lock").exists()
    assert not list(tmp_path.iterdir())

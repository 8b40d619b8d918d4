"""What the user can mend is said in one message; what he cannot keeps its traceback."""

from __future__ import annotations

import copy
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from refusing import no_file_above
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from runtime.errors import DataError, NotFiniteError, Problem, UserError, WriteError, refusal_of, run_command
from runtime.interrupts import Interrupted

ROOT = Path(__file__).resolve().parents[2]


def _raise(error: BaseException):
    def main() -> None:
        raise error

    return main


def test_every_problem_is_listed_with_its_place() -> None:
    problems = [Problem("train.json", "row 3", "question is empty"), Problem("train.json", "", "is not UTF-8")]
    error = DataError(problems, "Correct these rows.")
    assert str(error).splitlines() == [
        "2 problems in the data:",
        "  train.json, row 3: question is empty",
        "  train.json: is not UTF-8",
        "Correct these rows.",
    ]
    assert (error.problems, error.way_out) == (problems, "Correct these rows.")
    assert str(DataError(iter(problems[:1]))) == "1 problem in the data:\n  train.json, row 3: question is empty"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("name a folder"), 2, "error: name a folder\n"),
        (DataError([Problem("a", "b", "c")]), 2, "error: 1 problem in the data:\n  a, b: c\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted(signal.SIGTERM, "step 4 is saved"), 143, "terminated: step 4 is saved\n"),
    ],
)
def test_a_command_ends_with_one_message_and_a_status(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(_raise(error))
    assert end.value.code == status
    assert capsys.readouterr() == ("", message)


def test_nothing_in_a_message_commands_the_terminal_or_passes_for_another_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = Problem("a.json", "id \x1b[2J\x1b]0;pwn\x07\nerror: fake", "holds \u202e and http://me:secret@host")
    with pytest.raises(SystemExit):
        run_command(_raise(DataError([problem])))
    assert capsys.readouterr().err == (
        "error: 1 problem in the data:\n"
        "  a.json, id \\x1b[2J\\x1b]0;pwn\\x07\\nerror: fake: holds \\u202e and http://***@host\n"
    )


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(_raise(ZeroDivisionError()))


def test_a_command_that_works_just_returns(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


def test_what_a_model_gives_travels_between_processes() -> None:
    error = NotFiniteError("--model a", "gives nothing", "train it")
    again = copy.copy(error)  # as pickle does it
    assert str(again) == str(error) == "--model a gives nothing: train it"
    assert (again.finding, str(NotFiniteError("the model", "is odd"))) == ("gives nothing", "the model is odd")


# ----------------------------------------------------------------------------------------- what the system refuses


_CUT_OFF = "not all of it could be written; make room there, or name another folder"


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (OSError(errno.ENOSPC, "x", "a"), "No space left on device; make room there, or name another folder"),
        (PermissionError(errno.EACCES, "x", "a"), "Permission denied; name another folder"),
        (OSError(errno.EROFS, "x"), "Read-only file system; name another folder"),
        (OSError(errno.ENAMETOOLONG, "x"), "File name too long; give it a shorter name"),
        (OSError(errno.EIO, "x"), "Input/output error; check the disk, or name a folder on another one"),
        (OSError(errno.EMFILE, "x"), "Too many open files; raise the limit with ulimit -n"),
        (WriteError("a", "no"), "no"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), _CUT_OFF),  # of torch
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), None),
        (OSError("klue/bert is no name of a model"), None),
        (ValueError("5 requested and 4 written"), None),
        (UserError("name a folder"), None),
        (UserError("the model is damaged (a cannot be read: [Errno 21] Is a directory)"), None),
    ],
)
def test_a_refusal_comes_with_a_way_out(error: Exception, refusal: str | None) -> None:
    assert refusal_of(error) == refusal


WRITERS: dict[str, Callable[[Path], object]] = {
    "plain": lambda path: path.write_text("0" * 80000),
    "safetensors": lambda path: save_file({"a": torch.zeros(10000)}, path),
    "tokenizers": lambda path: Tokenizer(WordLevel({str(number): number for number in range(10000)})).save(str(path)),
    "numpy": lambda path: np.save(path, np.zeros(10000)),
    "numpy zip": lambda path: np.savez(path, np.zeros(10000)),
    "arrow": lambda path: pyarrow.parquet.write_table(pyarrow.table({"a": list(range(10000))}), path),
    "shutil": lambda path: shutil.copytree(path.parent / "source", path),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_library_that_writes_is_understood(writer: str, tmp_path: Path) -> None:
    """Each has its own words for a disk that takes no more."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("0" * 80000)
    WRITERS[writer](tmp_path / "there")
    with no_file_above(1000), pytest.raises(Exception) as error:
        WRITERS[writer](tmp_path / "full")
    assert refusal_of(error.value) in ("File too large; name another folder", _CUT_OFF)


def test_what_the_system_refuses_ends_a_command_with_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    for error, message in (
        (OSError(errno.EROFS, "x", "out/a"), "error: out/a: Read-only file system; name another folder\n"),
        (OSError(errno.ENOSPC, "x"), "error: No space left on device; make room there, or name another folder\n"),
        (WriteError("out/a", "no"), "error: out/a cannot be written: no\n"),
    ):
        with pytest.raises(SystemExit) as end:
            run_command(_raise(error))
        assert (end.value.code, capsys.readouterr().err) == (2, message)


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("lines", [1, 100000])
def test_output_that_nobody_reads_ends_a_command_quietly(buffered: bool, lines: int) -> None:
    """As in ``score.py ... | head``: the status of a program that SIGPIPE ends."""
    code = f"from runtime.errors import run_command; run_command(lambda: print(*range({lines})))"
    environment = os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, **pipes) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_another_pipe_that_breaks_is_a_defect() -> None:
    code = "from runtime.errors import run_command\ndef main(): raise BrokenPipeError(32, 'x')\nrun_command(main)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.endswith("BrokenPipeError: [Errno 32] x\n")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk() -> None:
    code = "from runtime.errors import run_command; run_command(lambda: print(1))"
    words, environment = [sys.executable, "-c", code], os.environ | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr == "error: standard output: No space left on device; make room there, or name another folder\n"

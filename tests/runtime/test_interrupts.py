"""Ctrl-C and SIGTERM end a command with one sentence and the status that shells know, whenever they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.interrupts import Interrupted, interrupts_call, raise_interrupted

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("train_mrc", "train_mrc_v2", "train_dpr", "train_reranker", "inference", "retrieve", "score")
FLAGS = {"train_mrc_v2": ["--do_train"], "inference": ["--do_predict"]}  # without which a command does not start
SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture
def slow_imports(tmp_path: Path) -> Callable[..., Path]:
    """Return a folder of packages whose import is interrupted by the signal in the environment, and swallows errors."""
    text = """
import os, signal, time
try:
    os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    time.sleep(60)
except BaseException as error:
    raise ImportError("a library that hides the reason") from error
"""

    def make(*packages: str) -> Path:
        for package in packages:
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(("signum", "status", "word"), SIGNALS)
@pytest.mark.parametrize("command", COMMANDS)
def test_during_the_imports_of_a_command(
    slow_imports: Callable[..., Path], command: str, signum: int, status: int, word: str
) -> None:
    environment = os.environ | {"PYTHONPATH": str(slow_imports("numpy")), "SIGNAL": str(int(signum))}
    words = [sys.executable, f"{command}.py", "--help"]
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", f"{word}: nothing was done yet\n")


@pytest.mark.parametrize(("signum", "status", "word"), SIGNALS)
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "score"])  # which imports none
def test_during_the_slow_imports_after_the_flags_are_read(
    slow_imports: Callable[..., Path], command: str, signum: int, status: int, word: str
) -> None:
    folder = slow_imports("torch", "datasets")
    environment = os.environ | {"PYTHONPATH": str(folder), "SIGNAL": str(int(signum))}
    words = [sys.executable, f"{command}.py", *FLAGS.get(command, [])]
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", f"{word}: nothing was done yet\n")
    words = [sys.executable, f"{command}.py", "--help"]
    helped = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)
    assert (helped.returncode, helped.stderr) == (0, "") and "--help GROUP" in helped.stdout


def test_only_one_process_of_a_launch_speaks(slow_imports: Callable[..., Path]) -> None:
    environment = os.environ | {"PYTHONPATH": str(slow_imports("numpy")), "SIGNAL": "2", "RANK": "1"}
    words = [sys.executable, "score.py"]
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_who_imports_a_command_keeps_his_handlers() -> None:
    code = f"import signal; before = signal.getsignal(2), signal.getsignal(15); import {', '.join(COMMANDS)}; "
    code += "assert before == (signal.getsignal(2), signal.getsignal(15))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(("signum", "status", "word"), SIGNALS)
def test_a_signal_is_an_exception_that_no_library_takes_for_an_error(signum: int, status: int, word: str) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(KeyboardInterrupt) as raised, interrupts_call(raise_interrupted):
        try:
            os.kill(os.getpid(), signum)
        except Exception:
            pytest.fail("taken for an error")
    assert isinstance(raised.value, Interrupted) and (raised.value.status, str(raised.value)) == (status, word)
    assert str(Interrupted(signum, "nothing is saved")) == f"{word}: nothing is saved"
    assert signal.getsignal(signum) == before


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup, and in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_call(raise_interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("signum", "ends"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_a_process_that_was_forked_off_dies_of_sigterm_and_leaves_ctrl_c_to_its_parent(signum: int, ends: bool) -> None:
    """A pool ends its workers with SIGTERM, and a terminal sends Ctrl-C to all."""
    with interrupts_call(raise_interrupted):
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signum)
            finally:
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == ends
    assert os.WTERMSIG(status) == signal.SIGTERM if ends else os.WEXITSTATUS(status) == 7


def test_a_thread_changes_nothing() -> None:
    before, inside = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with interrupts_call(raise_interrupted):
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [before]

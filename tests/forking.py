"""Commands in processes of their own, forked off from one that has imported everything.

    ended = run("train_mrc.py", *flags)              # as subprocess.run([sys.executable, "train_mrc.py", *flags]) does
    process = start("train_mrc.py", *flags, stderr=log)

Each is a new process that runs the script from its first line, but for the seconds that importing torch takes. Python's
hash seed and the number of torch's threads, which is one, are those of the process that all are forked off from.
"""

from __future__ import annotations

import atexit
import os
import random
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def start(
    *words: str,
    stdin: str = os.devnull,
    stdout: str | Path = os.devnull,
    stderr: str | Path = os.devnull,
    environment: Mapping[str, str] | None = None,
) -> ForkServerProcess:
    """Start a script, or ``-m`` and a module; what it prints is appended to files, or shown in terminals."""
    streams = (stdin, str(stdout), str(stderr))
    process = _forking().Process(target=_run, args=(words, streams, {**os.environ, **(environment or {})}))
    process.start()
    return process


def run(*words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script, or ``-m`` and a module, in the root, and return how it ended and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = (Path(folder) / name for name in ("stdout", "stderr"))
        process = start(*words, stdout=stdout, stderr=stderr, environment=environment)
        process.join()
        return subprocess.CompletedProcess(words, process.exitcode or 0, *map(Path.read_text, (stdout, stderr)))


@cache
def _forking() -> ForkServerContext:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        patch.setenv("OMP_NUM_THREADS", "1")  # torch's threads would not come with a fork
        context = get_context("forkserver")
        context.set_forkserver_preload(["preloaded"])
        forkserver.ensure_running()
    return context


def _run(words: tuple[str, ...], streams: tuple[str, str, str], environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ |= environment
    os.chdir(ROOT)
    for number, (name, mode) in enumerate(zip(streams, "rww", strict=True)):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOCTTY), number)
        errors = "backslashreplace" if number == 2 else None
        stream = os.fdopen(number, mode, buffering=1, encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
    random.seed()  # no two processes begin with the same numbers
    np.random.seed()
    try:
        if words[0] == "-m":
            sys.argv = list(words[1:])
            sys.modules.pop(words[1], None)  # which preloaded.py may have imported
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(words)
            sys.path.insert(0, str(Path(words[0]).resolve().parent))
            runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which forked processes of multiprocessing do not

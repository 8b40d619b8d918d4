"""The shell scripts with a Python that only notes how it was called: what is installed, run and reused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTING_PYTHON = """#!/usr/bin/env bash
echo "$1 $2 $3" >>"$CALLS"
echo "$*" >>"$CALLS.whole"
sleep 0.01  # products of different calls differ in time
case "$*" in
  "-m venv --clear .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip install "*) mkdir -p "$PIP_CACHE_DIR/wheels" && exit "${PIP_STATUS:-0}" ;;
  "${FAULTY:-nothing}"*) exit 4 ;;
  "-m pytest "*) exit 3 ;;
  "--version") echo Python "${VERSION:-3.11}" ;;
  script/build_offline_encoder.py*) mkdir -p saved/e5-small-ko ;;
  train_mrc.py*) mkdir -p saved/quickstart && [ -z "${INTERRUPTED:-}" ] && mkdir saved/quickstart/best ;;
  "inference.py --do_eval"*) mkdir -p outputs/quickstart && echo {} >outputs/quickstart/metrics.json ;;
  script/quickstart_table.py*) shift 2 && echo "table: $*" ;;
esac
"""
INSTALL = "-m pip install"
CHECKS = ["-m ruff check", "-m ruff format", "-m mypy", "-m pytest -q"]


class Checkout:
    """A checkout with our scripts and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "check out"
        shutil.copytree(ROOT / "script", self.folder / "script", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        shutil.copytree(ROOT / ".ci", self.folder / ".ci")
        for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder)
        self.python = folder / "python3"
        self.python.write_text(NOTING_PYTHON, encoding="utf-8")
        self.python.chmod(0o755)
        self.calls_file = folder / "calls"

    def run(self, script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script from another folder."""
        self.calls_file.write_text("", encoding="utf-8")
        environment = os.environ | {"PYTHON": str(self.python), "CALLS": str(self.calls_file)} | variables
        environment.pop("PIP_CACHE_DIR", None)
        command = ["bash", str(self.folder / script), *words]
        return subprocess.run(command, cwd=self.folder.parent, env=environment, capture_output=True, text=True)

    @property
    def whole(self) -> str:
        """Everything that Python was called with so far."""
        return self.calls_file.with_suffix(".whole").read_text(encoding="utf-8")

    @property
    def calls(self) -> list[str]:
        """What the last run had Python do, without the questions whether it works."""
        lines = self.calls_file.read_text(encoding="utf-8").splitlines()
        asked = ("--version", "-m pip --version", "-c ")
        return [line.split(" environment=")[0].strip() for line in lines if not line.startswith(asked)]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_requirements_are_installed_once_and_again_when_they_change(checkout):
    checkout.run("script/test.sh")
    assert checkout.calls == ["-m venv --clear", INSTALL, *CHECKS]
    checkout.run("script/test.sh")
    assert checkout.calls == CHECKS

    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        with (checkout.folder / name).open("a", encoding="utf-8") as file:
            file.write("one-more>=1\n")
        checkout.run("script/test.sh")
        assert checkout.calls == [INSTALL, *CHECKS]
    checkout.run("script/test.sh", VERSION="3.12")
    assert checkout.calls == [INSTALL, *CHECKS]


def test_the_quickstart_installs_no_extra_and_the_tests_add_them(checkout):
    checkout.run("script/quickstart.sh")
    assert "--requirement requirements.txt --constraint constraints.txt" in checkout.whole
    checkout.run("script/test.sh")
    assert checkout.calls == [INSTALL, *CHECKS] and "--requirement requirements-dev.txt" in checkout.whole
    shutil.rmtree(checkout.folder / "saved/quickstart")
    checkout.run("script/quickstart.sh")
    assert INSTALL not in checkout.calls


def test_the_versions_that_are_installed_are_those_of_the_constraints(checkout):
    checkout.run("script/test.sh")
    (install,) = (line for line in checkout.whole.splitlines() if line.startswith(INSTALL))
    assert install.split()[-4:] == ["--requirement", "requirements-dev.txt", "--constraint", "constraints.txt"]


def test_a_failed_install_stops_the_script_and_is_tried_again(checkout):
    assert checkout.run("script/test.sh", PIP_STATUS="7").returncode == 7
    assert checkout.calls == ["-m venv --clear", INSTALL]
    assert (checkout.folder / ".venv/downloads/wheels").exists()  # not to be fetched again
    checkout.run("script/test.sh")
    assert checkout.calls == [INSTALL, *CHECKS]
    assert not (checkout.folder / ".venv/downloads").exists()


@pytest.mark.parametrize("script", ["script/test.sh", ".ci/run"])
def test_the_exit_status_of_the_tests_is_that_of_the_script(checkout, script):
    result = checkout.run(script)
    assert result.returncode == 3
    assert (
        result.stdout.splitlines()[-1]
        == "$ python -m pytest -q --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder"
    )


@pytest.mark.parametrize("check", CHECKS[:-1])
def test_no_test_runs_before_style_and_types_are_right(checkout, check):
    assert checkout.run("script/test.sh", FAULTY=check).returncode == 4
    assert checkout.calls[-1] == check


def test_one_test_file_runs_without_the_checks_before_it(checkout):
    checkout.run("script/test.sh")
    checkout.run("script/test.sh", "tests/mrc")
    assert checkout.calls == ["-m pytest -q"]


def test_arguments_are_passed_on_whole(checkout):
    result = checkout.run("script/test.sh", "tests/mrc", "-k", "loading and not hub")
    assert result.stdout.splitlines()[-1] == r"$ python -m pytest -q tests/mrc -k loading\ and\ not\ hub"
    result = checkout.run("script/train_mrc_example.sh", "--seed", "7")
    assert result.stdout.splitlines()[-1].endswith("--save_total_limit 2 --seed 7")


STAGES = [
    "train_mrc.py --model saved/e5-small-ko",
    "inference.py --do_eval --model",
]
ENCODER = "script/build_offline_encoder.py --out saved/e5-small-ko"
TABLE = "script/quickstart_table.py outputs/quickstart/metrics.json"


def test_quickstart_runs_every_stage_once_and_reuses_them(checkout):
    first = checkout.run("script/quickstart.sh")
    assert checkout.calls == ["-m venv --clear", INSTALL, ENCODER, *STAGES, TABLE]
    assert first.returncode == 0
    printed = [line for line in first.stdout.splitlines() if line.startswith("$ ")]
    assert len(printed) == len(checkout.calls)
    times = r"table: environment=\d+ encoder=\d+ training=\d+ answering=\d+"
    assert re.fullmatch(times, first.stdout.splitlines()[-1])

    second = checkout.run("script/quickstart.sh")
    assert checkout.calls == [ENCODER, TABLE]
    assert "saved/quickstart/best is there: reused" in second.stdout
    assert second.stdout.splitlines()[-1].endswith("training=reused answering=reused")


def test_quickstart_answers_again_after_training_again(checkout):
    checkout.run("script/quickstart.sh")
    shutil.rmtree(checkout.folder / "saved/quickstart")
    checkout.run("script/quickstart.sh")
    assert checkout.calls == [ENCODER, *STAGES, TABLE]


def test_quickstart_stops_at_a_failed_stage_and_takes_it_up_again(checkout):
    interrupted = checkout.run("script/quickstart.sh", INTERRUPTED="yes")
    assert interrupted.returncode == 1
    assert checkout.calls[-1] == STAGES[0]
    resumed = checkout.run("script/quickstart.sh")
    assert checkout.calls == [ENCODER, *STAGES, TABLE]
    assert "--resume_from_checkpoint true" in resumed.stdout

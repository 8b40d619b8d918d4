"""python -m tools.sweep: every trial in a process of its own, kept, gone on with, compared."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import UserError
from runtime.interrupts import Interrupted
from runtime.terminal import columns_of
from tools import sweep

# Trains nothing: the score follows from rate and seed; a rate of 9 fails, a rate of 5 waits to be interrupted once.
PROGRAM = """
import json, signal, sys, time
from pathlib import Path

flags = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
folder, rate, seed = Path(flags["output_dir"]), float(flags["learning_rate"]), int(flags["seed"])
with open(folder.parent.parent / "calls.txt", "a") as calls:
    calls.write(f"{rate} {seed} {flags['resume_from_checkpoint']}\\n")
state = folder / "state"
if rate == 9:
    print("something before", "error: it cannot be", "", sep="\\n", file=sys.stderr)
    sys.exit(2)
if rate == 5 and not state.exists():
    def leave(signum, frame):
        state.write_text("saved")
        sys.exit(128 + signum)
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    (folder / "waits").touch()
    time.sleep(60)
metrics = {"step": 1, "eval_exact_match": 10 * rate + seed, "eval_loss": rate}
(folder / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let trials run ``PROGRAM``."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "train_mrc.py").write_text(PROGRAM)
    monkeypatch.setattr(sweep, "_ROOT", folder)
    return folder


def words(out: Path, rates: list[Any], seeds: str = "1 3", **more: Any) -> list[str]:
    grid = json.dumps({"learning_rate": rates} if isinstance(rates, list) else rates)
    given = ["--flags", '{"do_eval": true}', "--grid", grid, "--output_dir", str(out), "--seeds", *seeds.split()]
    return given + [word for name, value in more.items() for word in (f"--{name}", str(value))]


def calls(out: Path) -> list[str]:
    return (out / "calls.txt").read_text().splitlines()


def test_every_setting_with_every_seed_and_a_table(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "out"
    rows = sweep.main(words(out, [1, 2]))
    assert calls(out) == ["1.0 1 true", "1.0 3 true", "2.0 1 true", "2.0 3 true"]
    assert [(row["setting"], row["mean"], row["finished"]) for row in rows] == [
        ({"learning_rate": "2"}, 22.0, 2),
        ({"learning_rate": "1"}, 12.0, 2),
    ]
    assert rows[0]["spread"] == pytest.approx(2**0.5)  # of 21 and 23
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == [
        "eval_exact_match  spread  seeds  setting", "           22.00    1.41    2/2  learning_rate=2",
    ]  # fmt: skip
    assert all(columns_of(line) <= 80 for line in shown[:3])
    kept = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert (
        kept["settings"] == rows and kept["sweep_metric"] == "eval_exact_match" and kept["flags"] == {"do_eval": "true"}
    )
    with (out / "sweep.csv").open(encoding="utf-8-sig", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["learning_rate"], first["eval_exact_match"], first["eval_loss"]) == ("2", "22.0", "2.0")
    assert second["finished"] == "2" and float(second["eval_exact_match spread"]) == pytest.approx(2**0.5)
    assert Path(rows[0]["trials"][0]["folder"]).joinpath("log.txt").is_file()


def test_finished_trials_are_kept_and_a_wider_grid_adds_to_them(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = sweep.main(words(out, [1], sweep_metric="eval_loss"))
    again = sweep.main(words(out, [1, 2], sweep_metric="eval_loss"))
    assert calls(out) == ["1.0 1 true", "1.0 3 true", "2.0 1 true", "2.0 3 true"]
    assert again[0] == first[0]  # a low loss is good
    assert sweep.main(words(out, [1, 2], sweep_metric="eval_loss", goal="highest"))[0] == again[1]


def test_a_trial_that_fails_is_told_of_and_the_others_go_on(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError) as error:
        sweep.main(words(out, [9, 1]))
    first, *lines = str(error.value).splitlines()
    assert first == "2 of 4 trials failed, and the same command tries them again:"
    assert [line.split(": ", 1)[1] for line in lines] == ["exit status 2: it cannot be"] * 2
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["12.00", "1.41", "2/2", "learning_rate=1"]
    assert shown[2].split() == ["–", "–", "0/2", "learning_rate=9"]
    with pytest.raises(UserError):
        sweep.main(words(out, [9, 1]))
    assert calls(out) == ["9.0 1 true", "9.0 3 true", "1.0 1 true", "1.0 3 true", "9.0 1 true", "9.0 3 true"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_lets_its_trial_save_and_goes_on_there(
    program: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    out = tmp_path / "out"
    given = words(out, [1, 5], seeds="1")

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not list(out.glob("*/*/waits")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signum)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted) as interrupted:
        sweep.main(given)
    assert interrupted.value.status == 128 + signum
    end = f"1 finished trial is kept in {out}\nto go on, give the same command again"
    assert str(interrupted.value).endswith(f": {end}")
    assert len(json.loads((out / "sweep.json").read_text())["settings"]) == 1
    assert len(list(out.glob("*/*/state"))) == 1  # the trial was told, and waited for
    rows = sweep.main(given)
    assert calls(out) == ["1.0 1 true", "5.0 1 true", "5.0 1 true"]
    assert [row["mean"] for row in rows] == [51.0, 11.0]


def test_random_settings_are_drawn_and_counted(program: Path, tmp_path: Path) -> None:
    grid = {"learning_rate": "log 1e-3..1", "max_seq_len": [64, 128]}
    rows = sweep.main(words(tmp_path / "out", grid, seeds="1", method="random", trials=3))  # type: ignore[arg-type]
    assert len(rows) == len(calls(tmp_path / "out")) == 3
    assert all(1e-3 <= float(row["setting"]["learning_rate"]) <= 1 for row in rows)


def test_optuna_gets_the_means_and_finds_its_finished_trials_again(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    grid = {"learning_rate": "1e-3..1"}
    rows = sweep.main(words(tmp_path / "out", grid, method="optuna", trials=4))  # type: ignore[arg-type]
    assert rows == sweep.main(words(tmp_path / "out", grid, method="optuna", trials=4))  # type: ignore[arg-type]
    assert len(calls(tmp_path / "out")) == 8


def test_a_metric_that_is_not_measured_is_refused_with_those_that_are(program: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--sweep_metric em is not measured by train_mrc.py; choose from: eval_exact_match, "
    ):
        sweep.main(words(tmp_path / "out", [1], sweep_metric="em"))


def test_without_optuna_the_way_out_is_said(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="--method optuna needs Optuna: pip install optuna, or choose grid or random"):
        sweep.main(words(tmp_path / "out", [1], method="optuna"))


def test_what_the_command_would_refuse_is_said_before_the_first_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = {"learning_rate": ["x", "-1"], "seed": [1], "hub_token": ["a"], "do_evil": ["true"]}
    with pytest.raises(SystemExit):
        sweep.main(
            ["--grid", json.dumps(grid), "--flags", '{"do_evil": "true"}', "--output_dir", str(tmp_path / "out")]
        )
    start = "tools.sweep: error: "
    assert [line.removeprefix(start) for line in capsys.readouterr().err.splitlines()[:-1]] == [
        "seed is given to every trial by the sweep: leave it out, and see --seeds and --output_dir",
        "hub_token is a secret, and the settings of a sweep are kept in files: leave it out",
        "--flags and --grid both give do_evil",
        "train_mrc.py: argument --learning_rate: invalid float value: 'x'",
        "train_mrc.py: --do_evil is not a flag of train_mrc.py; did you mean --do_eval?",
        "train_mrc.py: --hub_token would be ignored: nothing is uploaded: add --push_to_hub",
        "train_mrc.py: --learning_rate -1 must be above 0",
    ]
    assert not (tmp_path / "out").exists()


def test_a_sweep_of_a_real_command(encoder_path: str, dataset_path: str, tmp_path: Path) -> None:
    """Settings come from a file, as users write it."""
    (tmp_path / "grid.yaml").write_text(
        f"""
program: train_mrc.py
flags:
  model: {encoder_path}
  dataset_path: {dataset_path}
  cache_dir: {tmp_path / "cache"}
  max_seq_len: 128
  stride_len: 16
  max_steps: 2
  do_eval: true
grid:
  head: [cnn]
output_dir: {tmp_path / "out"}
""",
        encoding="utf-8",
    )
    (row,) = sweep.main(["--config", str(tmp_path / "grid.yaml")])
    folder = Path(row["trials"][0]["folder"])
    assert json.loads((folder / "best" / "config.json").read_text())["reader_head"]["name"] == "cnn"
    assert row["mean"] == json.loads((folder / "metrics.json").read_text())["eval_exact_match"]

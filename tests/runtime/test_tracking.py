"""metrics.jsonl is always whole, and wandb neither asks nor stops a run."""

from __future__ import annotations

import importlib
import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arguments import RunArguments
from runtime.errors import DataError, UserError
from runtime.tracking import Tracker, check_tracking, read_metrics


class FakeRun:
    """A wandb run that keeps what it is told, or fails at it."""

    def __init__(self, failing: str | None = None) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.exit_code: int | None = None
        self.failing = failing

    def log(self, values: dict[str, float], step: int) -> None:
        if self.failing == "log":
            raise BrokenPipeError("the wandb process is gone")
        self.lines.append((step, values))

    def finish(self, exit_code: int) -> None:
        if self.failing == "finish":
            raise TimeoutError("no upload")
        self.exit_code = exit_code


class FakeWandb(SimpleNamespace):
    """The part of an older wandb that is used."""

    def __init__(self, api_key: str | None = None, settings_key: str | None = None, failing: str | None = None) -> None:
        super().__init__(api=SimpleNamespace(api_key=api_key), options=None, run=FakeRun(failing), failing=failing)
        self.Settings = lambda: SimpleNamespace(api_key=settings_key)

    def login(self, key: str | None = None) -> bool:
        pytest.fail("asked")

    def init(self, **options: Any) -> FakeRun:
        if self.failing == "init":
            raise RuntimeError("no such entity")
        self.options = options
        return self.run


class FakeNewWandb(FakeWandb):
    """A wandb whose login can be told not to ask, and that has no ``wandb.api``."""

    def __init__(self, api_key: str | None = None) -> None:
        super().__init__()
        del self.api, self.Settings
        self.key = api_key

    def login(self, key: str | None = None, verify: bool = True, prompt: bool = True) -> bool:
        assert not prompt and not verify  # the second would need the network
        return self.key is not None


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Put a fake wandb in the place of the real one."""

    def put(wandb: FakeWandb | None) -> FakeWandb | None:
        monkeypatch.setitem(sys.modules, "wandb", wandb)
        return wandb

    return put


def _arguments(folder: Path, **flags: Any) -> RunArguments:
    return RunArguments(output_dir=str(folder), **flags)


# ----------------------------------------------------------------------------------------------------- metrics.jsonl


def _untimed(path: Path) -> list[dict[str, Any]]:
    """The lines of a file without the time, which every one that was logged has."""
    return [{name: value for name, value in line.items() if name != "time"} for line in read_metrics(path)]


def test_every_call_is_a_line_that_is_there_at_once(tmp_path: Path, use: Any) -> None:
    use(None)  # an import of it fails
    path = tmp_path / "run" / "metrics.jsonl"
    with Tracker(_arguments(tmp_path / "run"), {}) as tracker:
        tracker.log(1, {"loss": 2.5})
        assert _untimed(path) == [{"step": 1, "loss": 2.5}]
        tracker.log(2, {"eval_loss": 2.0, "eval_f1": 50.0})
    first, second = path.read_text().splitlines()
    assert first.startswith('{"step": 1, "loss": 2.5, "time": "')
    assert second.startswith('{"step": 2, "eval_loss": 2.0, "eval_f1": 50.0, "time": "')


def test_every_line_says_when_it_was_written(tmp_path: Path) -> None:
    before = datetime.now(timezone.utc)
    with Tracker(_arguments(tmp_path), {}) as tracker:
        for step in (1, 2):
            tracker.log(step, {"loss": 1.0})
    times = [datetime.fromisoformat(line["time"]) for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert [time.utcoffset() for time in times] == [timedelta(0)] * 2
    assert before - timedelta(milliseconds=1) <= times[0] <= times[1] <= datetime.now(timezone.utc)


@pytest.mark.parametrize("damage", [b"\xff", b"", b"{}", b"[]", b"null", b'{"step": "1"}', b"[" * 100_000, b"{"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n')
    with pytest.raises(DataError, match=rf"^1 problem in the data:\n  {path}, line 2: is .*\nTake these lines out, or"):
        Tracker(_arguments(tmp_path), {}, start_step=4)
    assert path.read_bytes().endswith(b'{"step": 3}\n')


@pytest.mark.parametrize("cut", [b'{"step": 2, "a": "\xea', b'{"st', b"["])
def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path, cut: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + cut)
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]


def test_logging_dir_takes_the_lines_elsewhere(tmp_path: Path) -> None:
    with Tracker(_arguments(tmp_path / "run", logging_dir=str(tmp_path / "logs" / "a")), {}) as tracker:
        tracker.log(1, {"loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert _untimed(tmp_path / "logs" / "a" / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]


def test_a_resumed_run_drops_the_lines_that_come_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "loss": 1.0} for step in (2, 4, 4, 6, 8)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 10, "lo')  # killed in mid-line
    with Tracker(_arguments(tmp_path), {}, start_step=4) as tracker:
        assert read_metrics(path) == lines[:3]
        tracker.log(6, {"loss": 0.5})
    assert _untimed(path) == [*lines[:3], {"step": 6, "loss": 0.5}]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[1]", "is no object with the step of a run"),
        ('{"loss": 1}', "is no object with the step of a run"),
        ('{"step": -1}', "is no object with the step of a run"),
        ('{"step": 1e999}', "is no object with the step of a run"),
        ('{"step": 1, "loss": "x"}', "has a loss that is no number"),
        ('{"step": 1, "loss": 1e999}', "has a loss that is no number"),
        ('{"step": 1, "time": 3}', "has a time that is none"),
        ('{"step": 1, "step": 2}', "is not valid JSON: step stands twice in it"),
        ("[" * 100_000, "is not valid JSON: it nests too deeply"),
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_lines_that_no_run_writes_are_named(line: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 0}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(UserError) as error:
        read_metrics(path)
    assert str(error.value).splitlines()[1:] == [
        f"  {path}, line 2: {fault}",
        "Take these lines out, or start the run again in another folder.",
    ]


def test_lines_hold_only_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "grad_norm": NaN}\n')  # by an earlier version
    with Tracker(_arguments(tmp_path), {}, start_step=1) as tracker:
        with pytest.raises(UserError, match=r"metrics.jsonl is not written: eval_loss is nan, and JSON has no such"):
            tracker.log(2, {"eval_loss": float("nan")})
        tracker.log(2, {"eval_loss": 1.0})
    assert _untimed(path) == [{"step": 1, "grad_norm": None}, {"step": 2, "eval_loss": 1.0}]
    assert "NaN" not in path.read_text()


def test_a_new_run_begins_with_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "loss": 1.0}\n')
    with Tracker(_arguments(tmp_path), {}):
        pass
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_secondary_processes_write_nothing(tmp_path: Path, use: Any) -> None:
    wandb = use(FakeWandb("key"))
    with Tracker(_arguments(tmp_path / "run", report_to="wandb"), {}, active=False) as tracker:
        tracker.log(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == [] and wandb.options is None


def test_metrics_that_are_not_there_are_no_lines(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


# ------------------------------------------------------------------------------------------------------------- wandb


@pytest.mark.parametrize(
    ("flags", "started"),
    [
        ({}, False),
        ({"report_to": "auto"}, False),
        ({"wandb_project": "odqa"}, True),
        ({"wandb_entity": "team"}, True),
        ({"report_to": "wandb"}, True),
        ({"report_to": "none"}, False),
        ({"report_to": "none", "wandb_project": "odqa"}, False),
    ],
)
def test_wandb_runs_where_it_is_wanted(tmp_path: Path, use: Any, flags: dict[str, str], started: bool) -> None:
    wandb = use(FakeWandb())
    with Tracker(_arguments(tmp_path, **flags), {}) as tracker:
        tracker.log(3, {"loss": 1.0})
    assert wandb.run.lines == ([(3, {"loss": 1.0})] if started else [])
    assert wandb.run.exit_code == (0 if started else None)
    assert _untimed(tmp_path / "metrics.jsonl") == [{"step": 3, "loss": 1.0}]


@pytest.mark.parametrize(
    ("wandb", "mode"),
    [
        (FakeWandb(), "offline"),
        (FakeWandb(api_key="key"), "online"),
        (FakeWandb(settings_key="key"), "online"),
        (FakeNewWandb(), "offline"),
        (FakeNewWandb("key"), "online"),
    ],
)
def test_wandb_is_online_with_a_key_and_else_offline_without_asking(
    tmp_path: Path, use: Any, wandb: FakeWandb, mode: str
) -> None:
    use(wandb)
    flags = {"wandb_project": "odqa", "wandb_entity": "team", "run_name": "first", "description": "a test"}
    environment = dict(os.environ)
    with Tracker(_arguments(tmp_path / "run", **flags), {"seed": 1}):
        pass
    assert dict(os.environ) == environment
    assert wandb.options == {
        "project": "odqa",
        "entity": "team",
        "name": "first",
        "notes": "a test",
        "config": {"seed": 1},
        "dir": str(tmp_path / "run" / "first"),
        "mode": mode,
    }
    assert (tmp_path / "run").is_dir()  # wandb writes elsewhere when its dir is not there


def test_a_run_without_a_name_is_named_after_its_folder(tmp_path: Path, use: Any) -> None:
    wandb = use(FakeWandb())
    with Tracker(_arguments(tmp_path / "bert", report_to="wandb"), {}):
        pass
    assert (wandb.options["name"], wandb.options["project"]) == ("bert", "odqa")


@pytest.mark.parametrize("failing", ["init", "log", "finish"])
def test_a_wandb_that_fails_does_not_stop_the_run(tmp_path: Path, use: Any, failing: str, log_lines: list[str]) -> None:
    use(FakeWandb(failing=failing))
    with Tracker(_arguments(tmp_path, report_to="wandb"), {}) as tracker:
        for step in (1, 2):
            tracker.log(step, {"loss": 1.0})
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    warnings = [line for line in log_lines if line.startswith("WARNING")]
    assert len(warnings) == 1 and "the run goes on without it: " in warnings[0]


def test_a_run_that_fails_tells_wandb(tmp_path: Path, use: Any) -> None:
    wandb = use(FakeWandb())
    with pytest.raises(ZeroDivisionError), Tracker(_arguments(tmp_path, report_to="wandb"), {}):
        raise ZeroDivisionError
    assert wandb.run.exit_code == 1


def test_a_missing_package_names_the_way_out(tmp_path: Path, use: Any) -> None:
    use(None)
    for start in (check_tracking, lambda arguments: Tracker(arguments, {})):
        with pytest.raises(UserError) as refusal:
            start(_arguments(tmp_path, wandb_project="odqa"))
        assert str(refusal.value) == "tracking with wandb needs its package: pip install wandb, or --report_to none"
    check_tracking(_arguments(tmp_path))
    check_tracking(_arguments(tmp_path, wandb_project="odqa", report_to="none"))


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train_mrc", "--output_dir {run}"),
        ("train_mrc_v2", "--do_train --output_dir {run}"),
        ("train_dpr", "--retriever_dir {run}"),
        ("train_reranker", "--output_dir {run}"),
    ],
)
def test_a_missing_package_is_noticed_before_the_data_are_read(
    tmp_path: Path, use: Any, command: str, flags: str
) -> None:
    use(None)
    words = flags.format(run=tmp_path / "run").split()
    with pytest.raises(UserError, match="pip install wandb"):
        importlib.import_module(command).main(
            [*words, "--dataset_path", str(tmp_path / "nowhere"), "--wandb_project", "odqa"]
        )
    assert list(tmp_path.iterdir()) == []

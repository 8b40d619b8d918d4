"""The short form of the campaign: whatever happens to commands and files, all is right, or one sentence says it."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from campaign.mutations import Kind, judge, mutant
from campaign.processes import Ending, Job, Operations, Running
from campaign.trees import contents, difference, half
from forking import run

from runtime.checksums import write_checksums
from runtime.errors import UserError
from runtime.files import write_json

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched as Linux has it")


def test_nothing_is_wrong_after_60_kills_and_600_damaged_files(tmp_path: Path) -> None:
    result = run("-m", "tests.campaign", "--seed", "0", "--rounds", "5", "--keep", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    times = {kind.strip(): int(count) for kind, count in re.findall(r"^\| (.+?) \| (\d+) \|", result.stdout, re.M)}
    assert times["kill at a file operation"] >= 60 and times["damaged file"] >= 600
    assert len(times) in (8, 10) and not list(tmp_path.iterdir())  # with and without mounts


# --------------------------------------------------------------------------------------------- it finds what is wrong


def ending(tmp_path: Path, code: str, seconds: float = 20) -> Ending:
    return Running(Job("job", lambda _: exec(code), ""), tmp_path / "job").wait(seconds)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("pass", "ended"),
        ("from runtime.errors import UserError; raise UserError('no such file')", "sentence"),
        ("1 / 0", "traceback"),
        ("import sys; sys.exit(2)", "traceback"),
        ("import os; os.abort()", "traceback"),
        ("import os; os.kill(os.getpid(), 9)", "killed"),
    ],
)
def test_how_a_command_ended(tmp_path: Path, code: str, outcome: str) -> None:
    assert ending(tmp_path, code).outcome == outcome


def test_what_does_not_end_hangs(tmp_path: Path) -> None:
    assert ending(tmp_path, "import time; time.sleep(60)", seconds=0.1).outcome == "hang"


def test_a_command_is_disturbed_at_a_file_operation(tmp_path: Path) -> None:
    def write_three(_: object) -> None:
        for name in "abc":
            Path(name).write_text(name)
        Path("a").replace("d")

    def refuse(path: str) -> None:
        raise OSError(28, "No space left on device", path)

    for at, lasting, refused, left in ((2, False, "b", "a"), (4, False, "a", "abc"), (2, True, "b", "a")):
        place = tmp_path / f"{at}{lasting}"
        hook = lambda at=at, lasting=lasting: Operations(at, refuse, lasting)
        ended = Running(Job("job", write_three, ""), place, hook=hook).wait(20)
        way_out = "make room there, or name another folder"
        assert ended == (2, f"error: {refused}: No space left on device; {way_out}\n")
        assert "".join(sorted(path.name for path in place.iterdir())) == left


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda run: (run / "best" / "a.json").write_text("{"), "best/a.json cannot be read"),
        (lambda run: (run / "best" / "a.json").unlink(), "best/checksums.json a.json is missing"),
        (lambda run: (run / "best" / "a.json").write_text("[1, 3]"), "best/checksums.json a.json is not as it was"),
        (lambda run: (run / "checkpoint-4").mkdir(), "checkpoint-4 lacks b.json"),
        (lambda run: (run / "found.csv").touch(), "found.csv is empty"),
        (lambda run: (run / "metrics.jsonl").write_text('{"a"\n{}'), "metrics.jsonl cannot be read"),
    ],
)
def test_half_a_file_is_found(tmp_path: Path, damage: object, fault: str) -> None:
    write_json(tmp_path / "checkpoint-2" / "b.json", {"time": 1})
    write_json(tmp_path / "best" / "a.json", [1, 2])
    write_checksums(tmp_path / "best")
    expected = contents(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"a": 1}\n{"a"')  # of a run that was killed
    assert half(tmp_path, expected) is None
    damage(tmp_path)  # type: ignore[operator]
    assert (half(tmp_path, expected) or "").startswith(fault)


def test_a_checkpoint_of_a_run_that_was_asked_to_stop_needs_no_metrics(tmp_path: Path) -> None:
    for step, measured in ((2, True), (3, False)):
        folder = tmp_path / f"checkpoint-{step}"
        write_json(folder / "trainer_state.json", {"global_step": step, "log_history": [{"eval_loss": 1, "step": 2}]})
        if measured:
            write_json(folder / "metrics.json", {"eval_loss": 1})
    expected = {f"checkpoint-2/{name}": None for name in ("trainer_state.json", "metrics.json")}
    assert half(tmp_path, expected) is None
    (tmp_path / "checkpoint-2" / "metrics.json").unlink()
    assert half(tmp_path, expected) == "checkpoint-2 lacks metrics.json"


def test_what_differs_is_found_but_for_times(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"time": 1, "loss": [{"eval_seconds": 3}, 4]})
    before = contents(tmp_path)
    write_json(tmp_path / "a.json", {"time": 2, "loss": [{"eval_seconds": 5}, 4]})
    assert difference(contents(tmp_path), before) is None
    write_json(tmp_path / "a.json", {"time": 1, "loss": [{"eval_seconds": 3}, 5]})
    (tmp_path / ".b.staging-1").touch()
    assert difference(contents(tmp_path), before) == ".b.staging-1 was left"
    (tmp_path / ".b.staging-1").unlink()
    assert difference(contents(tmp_path), before) == "a.json differs"
    assert difference({}, before) == "a.json is missing"


def test_what_a_damaged_file_led_to(tmp_path: Path) -> None:
    def say(error: Exception) -> None:
        raise error

    assert judge(lambda: [1, 2], (1, 2))[0] == "right"
    assert judge(lambda: [1, 3], (1, 2))[0] == "different"
    assert judge(lambda: [1, 3], None)[0] == "right"
    assert judge(lambda: say(UserError("it is damaged")), 1) == ("sentence", "it is damaged")
    assert judge(lambda: say(KeyError("a")), 1)[0] == "traceback"
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "file").write_text("12")
    use = lambda folder: (folder / "file").read_text()
    trusting = Kind("file", tmp_path / "whole", use, mutations={"changed": lambda *_: b"3"})
    _, found = mutant(trusting, random.Random(0), tmp_path / "copy")
    assert found == ("file", "file", "changed", "different", "'3'")

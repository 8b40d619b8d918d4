"""Bars fit into the terminal and lines stay whole beside them; a file gets a line now and then."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from datasets import Dataset, are_progress_bars_disabled
from screen import in_terminal

import runtime.progress
from runtime.progress import ProgressBar, map_bar, progress_bar, show_figures

FIGURES = {"loss": 4.2345, "learning_rate": 2.98765e-05, "epoch": 12.3456, "examples_per_second": 123.456}


class Terminal:
    """A standard error that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        """Nobody looks."""

    def flush(self) -> None:
        """Nobody waits."""


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> ProgressBar:
    """The bar of a long training, of an hour so far, in a terminal."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = progress_bar(total=120_000, initial=0, desc="training")
    bar.n, bar.start_t = 60_000, bar.start_t - 3723
    return bar


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, " loss 4.23 lr 3e-05"),
        (90, " loss 4.23 lr 3e-05 epoch 12.35"),
        (100, " loss 4.23 lr 3e-05 epoch 12.35 ex/s 123"),
        (200, " loss 4.23 lr 3e-05 epoch 12.35 ex/s 123"),
        (60, ""),
    ],
)
def test_figures_leave_room_for_the_bar(bar: ProgressBar, columns: int, shown: str) -> None:
    bar.dynamic_ncols = lambda _: (columns, 24)
    show_figures(bar, FIGURES | {"grad_norm": 1.0})
    text = str(bar)
    assert len(text) <= columns - 3  # the cursor stands there, and ^C is written
    drawn = re.fullmatch(r"training:  50%\|(.{5,})\| 60000/120000 \[1:02:03<1:02:03\](.*)", text)
    assert drawn and drawn[2] == shown


def test_a_short_training_shows_loss_rate_and_epoch_in_80_columns(bar: ProgressBar) -> None:
    bar.dynamic_ncols = lambda _: (80, 24)
    bar.total, bar.n = 1200, 600
    bar.start_t += 3000
    show_figures(bar, FIGURES | {"epoch": 1.25})
    assert re.fullmatch(r"training:  50%\|.{5,}\| 600/1200 \[12:03<12:03\] loss 4.23 lr 3e-05 epoch 1.25", str(bar))


def test_a_terminal_too_narrow_for_anything_is_not_overrun(bar: ProgressBar) -> None:
    for columns in (1, 5, 20, 40):
        bar.dynamic_ncols = lambda _, columns=columns: (columns, 24)
        show_figures(bar, FIGURES)
        assert len(str(bar)) <= columns


PROGRAM = """
import logging, time, warnings
from runtime.log import configure_logging, get_logger
from runtime.progress import map_bar, progress_bar, show_figures
from datasets import Dataset
warnings.simplefilter("default")
configure_logging()
logger = get_logger("test")
with progress_bar(total=6, desc="training") as bar:
    for step in range(6):
        bar.update()
        show_figures(bar, {"loss": 1 / (step + 1), "learning_rate": 3e-5, "epoch": step / 6})
        for _ in progress_bar(range(40), desc="evaluating", unit="batch", leave=False):
            time.sleep(0.005)
        logger.info("step %d: all of this line is to be read", step)
        if step == 2:
            warnings.warn("this is of somebody else", stacklevel=1)
            logging.getLogger("some.library").warning("and this")
            logging.getLogger("some.library").setLevel(logging.DEBUG)
            logging.getLogger("some.library").debug("nobody wants to know this")
            logging.getLogger("transformers.models").warning("one of transformers")
            with map_bar(3, "masking") as inner:
                Dataset.from_dict({"a": [1, 2, 3]}).map(lambda row: inner.update() or row, new_fingerprint="1")
"""


def test_lines_are_written_above_the_bars_of_a_terminal(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    seen = set()

    def watch(lines: list[str]) -> None:
        seen.update(line.split(":")[0] for line in lines if "%|" in line)

    status, lines = in_terminal([str(program)], watch=watch)
    assert status == 0
    *logged, last, end = lines
    assert end == "" and re.fullmatch(r"training: 100%\|█+\| 6/6 \[00:0\d<00:00\] loss 0.167 lr 3e-05 epoch 0.83", last)
    assert seen - {"masking"} == {"training", "evaluating"}  # which takes no second, but on a busy machine
    texts = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in logged]
    steps = [f"INFO step {step}: all of this line is to be read" for step in range(6)]
    others = ["UserWarning: this is of somebody else (program.py:17)", "and this", "one of transformers"]
    assert texts == [*steps[:3], *(f"WARNING {text}" for text in others), *steps[3:]]


def test_without_a_terminal_there_is_a_line_a_minute_and_no_bar(
    log_lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with progress_bar(total=1000, desc="training") as bar:
        for step in range(1, 401):
            now[0] += 0.5
            bar.update()
            if step % 10 == 0:
                show_figures(bar, FIGURES | {"epoch": step / 500})
    for _ in progress_bar(range(100), desc="evaluating", leave=False):
        now[0] += 0.5
    assert len(log_lines) == 3
    assert log_lines[0] == ("INFO training: 120 of 1000 (12 %), 07:20 left, loss 4.23, lr 3e-05, epoch 0.22, ex/s 123")
    assert capsys.readouterr().out == "" and "\r" not in capsys.readouterr().err


def test_bars_of_data_sets_are_hidden_while_ours_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    before = are_progress_bars_disabled()
    with pytest.raises(ZeroDivisionError), map_bar(3, "masking"):
        assert are_progress_bars_disabled()
        raise ZeroDivisionError
    assert are_progress_bars_disabled() == before
    with map_bar(3, "masking") as bar:
        Dataset.from_dict({"a": [1, 2, 3]}).map(lambda row: bar.update() or row)
        assert bar.n == 3


def test_a_notebook_keeps_its_own_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    class Widget:
        def __init__(self, *args: object, **options: object) -> None:
            self.options = options

    monkeypatch.setattr(runtime.progress, "_IN_NOTEBOOK", True)
    monkeypatch.setattr("tqdm.auto.tqdm", Widget)
    bar = progress_bar(total=3, desc="reading")
    assert isinstance(bar, Widget) and bar.options == {"total": 3, "desc": "reading"}

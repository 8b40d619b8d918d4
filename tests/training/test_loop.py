"""The loop of a training on a model of one weight a row: what a row weighs, when what is due, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from forgetting import forget_accelerator

from arguments import OptimizationArguments
from runtime.arguments import TrainingRunArguments
from runtime.flags import flag_group
from runtime.processes import open_accelerator
from runtime.tracking import read_metrics
from training.arguments import EvaluationArguments
from training.checkpoint import BestScores, find_state
from training.loop import Batches, TrainingLoop
from training.start import Start

ROWS = 5


@flag_group("training")
class Options(OptimizationArguments, EvaluationArguments):
    """How a loop trains, and when it is evaluated."""


class Weights(torch.nn.Module):
    """Gives the squared distance of each row's weight to its number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(ROWS))

    def forward(self, rows: list[int]) -> torch.Tensor:
        return (self.weight[rows] - torch.tensor(rows, dtype=torch.float32)) ** 2  # (rows,)


def epoch_batches(epoch: int) -> list[list[int]]:
    """Batches of 2, 2 and 1 rows, another first row every epoch."""
    rows = [(row + epoch) % ROWS for row in range(ROWS)]
    return [rows[:2], rows[2:4], rows[4:]]


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[Callable[..., TrainingLoop]]:
    accelerator = open_accelerator("fp32")

    def make(
        folder: str = "run",
        batches: Callable[[int], list[list[int]]] = epoch_batches,
        eval_steps: int | None = 100,
        **options: Any,
    ) -> TrainingLoop:
        path = tmp_path / folder
        start = Start(TrainingRunArguments(output_dir=str(path), logging_steps=1), path, "fp32", True)
        start.accelerator, start.records = accelerator, {"arguments": {}}
        flags = {"adam_epsilon": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "num_train_epochs": 2}
        names = Batches(batches, lambda rows: [f"row-{row}" for row in rows])
        return TrainingLoop(start, Options(**flags | options), Weights(), names, eval_steps, BestScores())

    yield make
    forget_accelerator()


def run(loop: TrainingLoop, steps: int | None = None, scores: Iterator[float] | None = None) -> list[int]:
    """Train, up to so many batches; return the steps at which an evaluation was due, which has these ``scores``."""
    due = []
    with loop.running(lambda rows: loop.bare_model(rows)):
        for number, rows in enumerate(loop.batches(), start=1):
            with loop.synchronising():
                loop.backward(loop.model(rows).mean(), rows)
            if loop.finish_batch():
                due.append(loop.progress.step)
                if scores is not None:
                    loop.best.update(loop.progress.step, next(scores))
            if number == steps:
                break
    return due


def weight_of(loop: TrainingLoop) -> torch.Tensor:
    return loop.bare_model.weight.detach()


# --------------------------------------------------------------------------------------------------- what a row weighs


def test_all_rows_of_a_step_weigh_the_same_however_they_are_batched(
    make_loop: Callable[..., TrainingLoop], tmp_path: Path
) -> None:
    whole = make_loop("whole", lambda epoch: [list(range(ROWS))])
    parts = make_loop("parts", gradient_accumulation_steps=3)
    assert whole.total_steps == parts.total_steps == 2
    for loop in (whole, parts):
        run(loop)
    torch.testing.assert_close(weight_of(parts), weight_of(whole))
    logged = [[line["loss"] for line in read_metrics(tmp_path / name / "metrics.jsonl")] for name in ("whole", "parts")]
    assert logged[1] == pytest.approx(logged[0])


def test_the_last_step_of_an_epoch_is_over_the_batches_that_are_left(make_loop: Callable[..., TrainingLoop]) -> None:
    loop, shares = make_loop(gradient_accumulation_steps=2), []
    with loop.running(lambda rows: loop.bare_model(rows)):
        for rows in loop.batches():
            shares.append((loop.share_of_step(), loop.ends_step()))
            loop.backward(loop.model(rows).mean(), rows)
            loop.finish_batch()
    assert shares == [(0.5, False), (0.5, True), (1.0, True)] * 2
    assert loop.progress.step == loop.total_steps == 4


# --------------------------------------------------------------------------------------------------------- what is due


@pytest.mark.parametrize(
    ("eval_steps", "options", "expected"),
    [
        (2, {}, [2, 4, 6]),
        (4, {}, [4, 6]),  # and after the last step
        (None, {}, [3, 6]),
        (None, {"max_steps": 4}, [3, 4]),
        (None, {"gradient_accumulation_steps": 2}, [2, 4]),
    ],
)
def test_an_evaluation_is_due_every_so_many_steps_or_every_epoch(
    make_loop: Callable[..., TrainingLoop],
    tmp_path: Path,
    eval_steps: int | None,
    options: dict[str, int],
    expected: list[int],
) -> None:
    assert run(make_loop(eval_steps=eval_steps, **options)) == expected
    assert [path.name for path in (tmp_path / "run" / "resume").iterdir()] == [f"step-{expected[-1]:08d}"]


def test_it_stops_when_evaluations_get_no_better(make_loop: Callable[..., TrainingLoop], log_lines: list[str]) -> None:
    loop = make_loop(eval_steps=1, early_stopping_patience=2, do_eval=True)
    assert run(loop, scores=iter([1.0, 2.0, 2.0, 1.0])) == [1, 2, 3, 4]
    assert loop.is_over() and (loop.progress.step, loop.best.step) == (4, 2)
    assert log_lines == ["INFO stopped: 2 evaluations in a row got no better"]


# ------------------------------------------------------------------------------------------------------- how it goes on


def test_resumed_within_an_epoch_it_is_the_same_run(make_loop: Callable[..., TrainingLoop], tmp_path: Path) -> None:
    undisturbed = make_loop("undisturbed", eval_steps=2)
    run(undisturbed)
    run(make_loop(eval_steps=2), steps=3)  # the state is that of step 2
    resumed = make_loop(eval_steps=2)
    resumed.resume(find_state(tmp_path / "run", "true"))
    assert (resumed.progress.step, resumed.progress.epoch, resumed.progress.batch) == (2, 0, 2)
    assert run(resumed) == [4, 6]
    assert torch.equal(weight_of(resumed), weight_of(undisturbed))
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("run", "undisturbed")]
    for line in (*lines[0], *lines[1]):
        del line["examples_per_second"], line["time"]
    assert lines[0] == lines[1]

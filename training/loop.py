"""The frame of a training loop: which batch comes next, when to log, evaluate and stop, and what can be resumed.

with loop.running(arguments, read_again):
    for rows in loop.batches():
        with loop.synchronising():
            loss = ...
            loop.accelerator.backward(loss * loop.share_of_step())
        if loop.finish_batch(loss) and loop.is_evaluation_due():
            ...
            loop.save_state()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from runtime.arguments import RunArguments
from runtime.log import get_logger
from runtime.processes import take_step
from runtime.progress import progress_bar, show_figures
from runtime.stopping import stop_requests
from runtime.tracking import Tracker
from training.checkpoint import BestScores, Progress, check_steps, load_state, save_state
from training.loss_window import LossWindow, Place

logger = get_logger(__name__)


@dataclass
class TrainingLoop:
    """Where a run stands, and what moves it on.

    ``model`` and ``optimizer`` are what ``accelerator.prepare`` gave; ``batches_of(epoch)`` are the joint batches of
    all processes, ``batches_per_epoch`` each time, of rows that ``ids`` names. An optimizer step is over
    ``accumulation`` batches, fewer at the end of an epoch. ``eval_steps`` is None to evaluate after every epoch;
    ``patience`` bounds ``best.stale``.
    """

    run_args: RunArguments
    accelerator: Accelerator
    model: torch.nn.Module
    optimizer: Any
    scheduler: Any
    batches_of: Callable[[int], Sequence[list[int]]]
    batches_per_epoch: int
    ids: Sequence[str]
    total_steps: int
    eval_steps: int | None
    accumulation: int = 1
    max_grad_norm: float = 1.0
    patience: int | None = None
    progress: Progress = field(default_factory=Progress)
    best: BestScores = field(default_factory=BestScores)
    _took_step: bool = field(default=False, init=False)
    _saved_step: int | None = field(default=None, init=False)

    def resume(self, state_folder: Path) -> None:
        """Go on from a saved state; :class:`UserError` if it is of a later step than this run's last."""
        scaler = self.accelerator.scaler
        self.progress, self.best = load_state(
            state_folder, self._bare_model, self.optimizer.optimizer, self.scheduler, scaler, BestScores
        )
        check_steps(self.progress.step, self.total_steps, state_folder)

    @contextlib.contextmanager
    def running(self, config: dict[str, Any], read_again: Callable[[Sequence[int]], torch.Tensor]) -> Iterator[None]:
        """Show a bar and write metrics.jsonl while the block runs; ``config`` is what wandb shows of the run.

        What ``read_again(rows)`` gives of some of the rows of the last batch must be numbers before the model is
        evaluated or saved (see :meth:`LossWindow.check`).
        """
        is_main, step = self.accelerator.is_main_process, self.progress.step
        self._read_again = read_again
        self.window = LossWindow(self.accelerator, lambda rows: [self.ids[row] for row in rows], self.progress.window)
        with (
            Tracker(self.run_args, config, step, is_main) as self.tracker,
            progress_bar(total=self.total_steps, initial=step, desc="training", disable=not is_main) as self.bar,
            stop_requests() as self.stop,
            self.window.ends_run(),
        ):
            self.model.train()
            yield

    def batches(self) -> Iterator[list[int]]:
        """Yield the batches that are left, until all steps are taken or evaluations get no better.

        Asked to stop, it saves the state of a whole step and raises ``Interrupted``.
        """
        while not self.is_over():
            self._batches = self.batches_of(self.progress.epoch)
            for rows in self._batches[self.progress.batch :]:
                yield rows
                if self.is_over():
                    break
                if self._took_step and self.stop.is_made():
                    if self._saved_step != self.progress.step:
                        self._check(rows)
                        self.save_state()
                    self.stop.leave()
            else:
                self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
        if self.progress.step < self.total_steps:
            logger.info("stopped: %d evaluations in a row got no better", self.best.stale)

    def share_of_step(self) -> float:
        """Return what the current batch counts in its optimizer step: its share of the rows."""
        batch = self.progress.batch
        return len(self._batches[batch]) / rows_of_step(self._batches, batch, self.accumulation)

    def ends_step(self) -> bool:
        """Whether the current batch is the last of its optimizer step."""
        done = self.progress.batch + 1
        return done % self.accumulation == 0 or done == self.batches_per_epoch

    def synchronising(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of a batch: processes exchange gradients only at the last of an optimizer step."""
        return contextlib.nullcontext() if self.ends_step() else self.accelerator.no_sync(self.model)

    def finish_batch(self, loss: torch.Tensor) -> bool:
        """Take the optimizer step if the batch ends one, and count; return whether it did.

        The ``loss`` of the batch is the mean of those that the processes have of it.
        """
        rate, ends_step = self.scheduler.get_last_lr()[0], self.ends_step()
        self._took_step = ends_step
        rows, batch = self._batches[self.progress.batch], self.progress.batch % self.accumulation + 1
        place = Place(self.progress.step + 1, batch, rate, rows)
        self.window.add(loss, len(rows) / self.accelerator.num_processes, place)
        if ends_step:
            if self.max_grad_norm > 0:
                norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
                self.window.add_norm(norm)
            take_step(self.accelerator, self.optimizer, self.scheduler)
            self.optimizer.zero_grad()
            self.progress.step += 1
            self.bar.update()
        self.progress.batch += 1
        if ends_step and self._is_due(self.run_args.logging_steps):
            epoch = self.progress.epoch + self.progress.batch / self.batches_per_epoch
            values = self.window.close() | {"learning_rate": rate, "epoch": epoch}
            self.tracker.log(self.progress.step, values)
            show_figures(self.bar, values)
        if ends_step and self.is_evaluation_due():
            self._check(rows)
        return ends_step

    def is_evaluation_due(self) -> bool:
        """Whether this optimizer step is followed by an evaluation and a resumable state."""
        if self.eval_steps is None:
            return self.progress.batch == self.batches_per_epoch or self.progress.step == self.total_steps
        return self._is_due(self.eval_steps)

    def is_over(self) -> bool:
        """Whether all optimizer steps are taken, or ``patience`` evaluations in a row got no better."""
        done = self.progress.step >= self.total_steps
        return done or (self.patience is not None and self.best.stale >= self.patience)

    def save_state(self) -> None:
        """Write what --resume_from_checkpoint continues from."""
        self._saved_step = self.progress.step
        self.progress.window = self.window.state()
        if self.accelerator.is_main_process:
            save_state(
                self.run_args.run_dir,
                replace(self.progress),
                self.best,
                self._bare_model,
                self.optimizer.optimizer,
                self.scheduler,
                self.accelerator.scaler,
            )
        self.accelerator.wait_for_everyone()

    def _check(self, rows: Sequence[int]) -> None:
        self.window.check(self._bare_model, partial(self._read_again, rows))

    @property
    def _bare_model(self) -> torch.nn.Module:
        return self.accelerator.unwrap_model(self.model)

    def _is_due(self, every: int) -> bool:
        return self.progress.step % every == 0 or self.progress.step == self.total_steps


def rows_of_step(batches: Sequence[Sequence[int]], batch: int, accumulation: int) -> int:
    """Return how many rows the optimizer step is over that the ``batch``-th of an epoch's ``batches`` belongs to."""
    first = batch // accumulation * accumulation
    return sum(map(len, batches[first : first + accumulation]))

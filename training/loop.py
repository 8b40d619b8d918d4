"""The loop of a training: which batch comes next, what it weighs, when to log, evaluate, save state and stop.

with loop.running(read_again):
    for batch in loop.batches():
        loop.learn(loss_of, batch, rows)
        if loop.finish_batch():
            loop.log(evaluate(...))
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from runtime.fitting import memory_for
from runtime.flags import part_of
from runtime.log import get_logger
from runtime.processes import take_step
from runtime.progress import progress_bar, show_figures
from runtime.stopping import stop_requests
from runtime.tracking import Tracker
from training.arguments import OptimizationArguments
from training.byte_dropout import fast_dropout
from training.checkpoint import (
    BestCheckpoints,
    BestScores,
    Progress,
    check_steps,
    load_state,
    remove_older_states,
    save_state,
)
from training.cuda_graphs import CudaGraphs, can_record
from training.freezing import FreezeSchedule
from training.loss_window import LossWindow, Place
from training.optimization import count_steps, make_optimizer, make_scheduler
from training.start import Start

logger = get_logger(__name__)

_Best = TypeVar("_Best", BestCheckpoints, BestScores)


@dataclass
class Batches:
    """What is trained on: joint batches of all processes, of rows that ``ids_of`` names in messages.

    ``of_epoch(epoch)`` starts an epoch and gives the rows of each of its batches, as many in every epoch.
    ``load(first)`` gives what a training step takes of them, from the ``first``-th on; by default the rows themselves.
    ``bound`` is the flag that bounds the memory of a step.
    """

    of_epoch: Callable[[int], Sequence[Sequence[int]]]
    ids_of: Callable[[Sequence[int]], Sequence[str]]
    load: Callable[[int], Iterable[Any]] | None = None
    bound: str = "--per_device_train_batch_size"


class TrainingLoop(Generic[_Best]):
    """Where a run stands, and what moves it on.

    ``model`` is trained by AdamW as ``options`` say, the arguments of a command with ``ScheduleArguments`` and
    ``early_stopping_patience``, over the weights that ``freezing`` trains at some step, by default those that want a
    gradient; afterwards the attribute ``model`` is what ``accelerator.prepare`` made of it.
    ``freezing(steps_per_epoch, total_steps)`` gives the schedule. An optimizer step is over
    ``gradient_accumulation_steps`` batches, fewer at the end of an epoch, of which every row weighs the same.
    ``eval_steps`` is None to evaluate after every epoch; ``best`` is the save rule, and
    ``early_stopping_patience`` bounds its ``stale``.
    """

    def __init__(
        self,
        start: Start,
        options: Any,
        model: torch.nn.Module,
        batches: Batches,
        eval_steps: int | None,
        best: _Best,
        freezing: Callable[[int, int], FreezeSchedule] | None = None,
    ) -> None:
        self.start, self.options, self.accelerator = start, options, start.accelerator
        self._source, self._eval_steps = batches, eval_steps
        self.best: _Best = best
        self.progress = Progress()
        self._accumulation = options.gradient_accumulation_steps
        batches_per_epoch = len(batches.of_epoch(0))
        self.total_steps = count_steps(options, batches_per_epoch)
        self._freezing = freezing and freezing(math.ceil(batches_per_epoch / self._accumulation), self.total_steps)
        trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        if self._freezing is not None:
            trained = self._freezing.trained_parameters()
        optimizer = make_optimizer(
            trained, part_of(options, OptimizationArguments), getattr(model, "base_model_prefix", "")
        )
        self.scheduler = make_scheduler(optimizer, options, self.total_steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self._graphs = CudaGraphs(model) if can_record(self.accelerator, model) else None

    @property
    def bare_model(self) -> Any:
        """The model without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.model)

    def resume(self, state_folder: Path) -> None:
        """Go on from a saved state; :class:`UserError` if it is of a later step than this run's last."""
        self.progress, self.best = load_state(
            state_folder, self.bare_model, self.optimizer.optimizer, self.scheduler, self.accelerator.scaler,
            type(self.best),
        )  # fmt: skip
        check_steps(self.progress.step, self.total_steps, state_folder)
        if self.accelerator.is_main_process:
            remove_older_states(state_folder)

    @contextlib.contextmanager
    def running(self, read_again: Callable[[Any], torch.Tensor]) -> Iterator[None]:
        """Show a bar and write metrics.jsonl while the block runs.

        What ``read_again(batch)`` gives of the last batch must be numbers before the model is evaluated or saved (see
        :meth:`LossWindow.check`).
        """
        is_main, step = self.accelerator.is_main_process, self.progress.step
        self._read_again = read_again
        self._window = LossWindow(self.accelerator, self._source.ids_of, self.progress.window)
        with (
            Tracker(self.start.args, self.start.records["arguments"], step, is_main) as self._tracker,
            progress_bar(total=self.total_steps, initial=step, desc="training", disable=not is_main) as self._bar,
            stop_requests() as self._stop,
            memory_for(self._source.bound),
            fast_dropout(self.accelerator.device),
            self._window.ends_run(),
        ):
            self.model.train()
            yield

    def batches(self) -> Iterator[Any]:
        """Yield the batches that are left, until all steps are taken or evaluations get no better.

        After whatever follows an evaluation it saves the state, and where it is asked to stop, that of a whole step, to
        raise ``Interrupted``.
        """
        while not self.is_over():
            self._batches: Sequence[Sequence[int]] = self._source.of_epoch(self.progress.epoch)
            first = self.progress.batch
            for batch in self._source.load(first) if self._source.load else self._batches[first:]:
                self._batch: Any = batch
                if self._freezing is not None:
                    self._freezing.apply(self.progress.step)
                yield batch
                if not self._took_step:
                    continue
                if self._is_due:
                    self.save_state()
                if self.is_over():
                    break
                if self._stop.is_made():
                    if not self._is_due:
                        self._check()
                        self.save_state()
                    self._stop.leave()
            else:
                self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
        if self.progress.step < self.total_steps:
            logger.info("stopped: %d evaluations in a row got no better", self.best.stale)

    def learn(self, loss_of: Callable[[Any], torch.Tensor], batch: Any, rows: Sequence[int] | torch.Tensor) -> None:
        """Add the gradient of ``loss_of(batch)`` (), the mean over this process's ``rows``, to that of the step.

        What ``loss_of`` does is recorded and replayed where that is faster: it must be the same for all batches.
        """
        if self._graphs is not None:
            self.take_in(self._graphs.backward(loss_of, batch, len(rows) / self._rows_of_step()), len(rows), rows)
            return
        with self.synchronising():
            self.backward(loss_of(batch), rows)

    def synchronising(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of a batch: processes exchange gradients only at the last of an optimizer step."""
        return contextlib.nullcontext() if self.ends_step() else self.accelerator.no_sync(self.model)

    def backward(self, loss: torch.Tensor, rows: Sequence[int] | torch.Tensor) -> None:
        """Add the gradient of ``loss`` (), the mean over this process's ``rows`` of the batch, to that of the step."""
        self.take_in(loss, len(rows), rows)
        # gradients are averaged over processes
        self.accelerator.backward(loss * (len(rows) / self._rows_of_step()) * self.accelerator.num_processes)

    def take_in(self, loss: torch.Tensor, examples: float, rows: Sequence[int] | torch.Tensor) -> None:
        """Count ``loss`` () as the mean of so many ``examples`` in what is logged; ``rows`` name it in a message."""
        batch = self.progress.batch % self._accumulation + 1
        self._window.add(loss, examples, Place(self.progress.step + 1, batch, self._rate(), rows))

    def share_of_step(self) -> float:
        """Return what the joint batch counts in its optimizer step: its share of the rows."""
        return len(self._batches[self.progress.batch]) / self._rows_of_step()

    def ends_step(self) -> bool:
        """Whether the current batch is the last of its optimizer step."""
        done = self.progress.batch + 1
        return done % self._accumulation == 0 or done == len(self._batches)

    def finish_batch(self) -> bool:
        """Take and log the optimizer step if the batch ends one; return whether an evaluation is due."""
        rate, self._took_step, self._is_due = self._rate(), self.ends_step(), False
        if self._took_step:
            if self.options.max_grad_norm > 0:
                norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.options.max_grad_norm)
                self._window.add_norm(norm)
            take_step(self.accelerator, self.optimizer, self.scheduler)
            (self._graphs or self.optimizer).zero_grad()
            self.progress.step += 1
            self._bar.update()
        self.progress.batch += 1
        if self._took_step and self._is_multiple(self.start.args.logging_steps):
            epoch = self.progress.epoch + self.progress.batch / len(self._batches)
            values = self._window.close() | {"learning_rate": rate, "epoch": epoch}
            self.log(values)
            show_figures(self._bar, values)
        if self._took_step and self._is_evaluation_due():
            self._is_due = True
            self._check()
        return self._is_due

    def log(self, values: dict[str, float]) -> None:
        """Write ``values`` of this step to metrics.jsonl, and to what else tracks the run."""
        self._tracker.log(self.progress.step, values)

    def is_over(self) -> bool:
        """Whether all optimizer steps are taken, or evaluations got no better for ``early_stopping_patience``."""
        patience = self.options.early_stopping_patience
        return self.progress.step >= self.total_steps or (patience is not None and self.best.stale >= patience)

    def save_state(self) -> None:
        """Write what --resume_from_checkpoint continues from."""
        self.progress.window = self._window.state()
        if self.accelerator.is_main_process:
            save_state(
                self.start.folder, replace(self.progress), self.best, self.bare_model, self.optimizer.optimizer,
                self.scheduler, self.accelerator.scaler,
            )  # fmt: skip
        self.accelerator.wait_for_everyone()

    def _is_evaluation_due(self) -> bool:
        if self._eval_steps is None:
            return self.progress.batch == len(self._batches) or self.progress.step == self.total_steps
        return self._is_multiple(self._eval_steps)

    def _is_multiple(self, every: int) -> bool:
        return self.progress.step % every == 0 or self.progress.step == self.total_steps

    def _rows_of_step(self) -> int:
        first = self.progress.batch // self._accumulation * self._accumulation
        return sum(map(len, self._batches[first : first + self._accumulation]))

    def _rate(self) -> float:
        return self.scheduler.get_last_lr()[0]

    def _check(self) -> None:
        self._window.check(self.bare_model, partial(self._read_again, self._batch))

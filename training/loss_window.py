"""The losses of a run, and the end of it where they, or what the model gives, are no numbers any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from runtime.errors import NotFiniteError, UserError
from runtime.finite import check_weights
from runtime.processes import together

_LOOKED_AT_ONCE = 100  # batches: looking makes the processor wait for the GPU
_NAMED = 8  # examples in a message
_SMALLEST_SCALE = 1e-4  # of a loss in fp16, which starts at 65536 and is halved where gradients overflow
_WAY_OUT = "what was saved before stays; start again with a lower learning rate, or look at these examples"


class Place(NamedTuple):
    """Where a batch stands in a run: its optimizer step, the batch of that step (both from 1), its rows."""

    step: int
    batch: int
    learning_rate: float
    rows: Sequence[int] | torch.Tensor


class _Seen(NamedTuple):
    place: Place
    loss: torch.Tensor
    examples: float


class LossWindow:
    """Mean loss, weighted by examples, and examples per second since the last :meth:`close`, over all processes.

    Losses and gradient norms stay on their device until some are looked at together: at :meth:`close`, at
    :meth:`check`, and every hundred batches. One that is nan or infinite then ends the run in all processes, with a
    :class:`UserError` that says where it was the first; ``ids_of`` gives the ids of a batch's rows. ``before`` is what
    :meth:`state` gave where the run was stopped.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        ids_of: Callable[[Sequence[int]], Sequence[str]],
        before: Sequence[float] = (),
    ) -> None:
        self._accelerator = accelerator
        self._ids_of = ids_of
        self._last: Place | None = None
        self._seen: list[_Seen] = []
        self._norms: list[tuple[Place, torch.Tensor]] = []
        self._begin(*before)

    def add(self, loss: torch.Tensor, examples: float, place: Place) -> None:
        """Take in the mean ``loss`` () of a batch of ``examples``."""
        self._last = place
        self._seen.append(_Seen(place, loss.detach(), examples))
        if len(self._seen) == _LOOKED_AT_ONCE:
            self._look()

    def add_norm(self, norm: torch.Tensor) -> None:
        """Take in the ``norm`` () of the gradient of the step that the last batch ended.

        In fp16 it may be anything: the loss scaler leaves out steps whose gradients overflow.
        """
        if self._accelerator.scaler is None and self._last is not None:
            self._norms.append((self._last, norm))

    def close(self) -> dict[str, float]:
        """Return ``loss`` and ``examples_per_second``, and start a new window."""
        self._look()
        seconds = time.perf_counter() - self._since
        values = {"loss": self._loss / self._examples, "examples_per_second": self._examples / seconds}
        self._begin()
        return values

    def state(self) -> list[float]:
        """Return the sums of loss and examples so far, of all processes, and the seconds that they took."""
        self._look()
        return [self._loss, self._examples, time.perf_counter() - self._since]

    def check(self, model: torch.nn.Module, read_again: Callable[[], torch.Tensor]) -> None:
        """End the run unless ``model`` is fit to be evaluated and saved.

        The last step changed it after the last loss: its weights are looked at, and what ``read_again`` gives of the
        last batch, without dropout or gradient.
        """
        self._look()
        training = model.training
        with together(self._accelerator), torch.no_grad():
            check_weights(model.named_parameters(), "the model")
            model.eval()
            given = read_again()
            model.train(training)
            if not torch.isfinite(given).all():
                raise NotFiniteError("the model", "gives something else than finite numbers")

    @contextmanager
    def ends_run(self) -> Iterator[None]:
        """Say where the run stands when the model gives no numbers any more."""
        try:
            yield
        except NotFiniteError as error:
            if self._last is None:
                raise
            raise UserError(
                f"training stops after {self._describe(self._last)}: the model {error.finding}; {_WAY_OUT}"
            ) from None

    def _begin(self, loss: float = 0.0, examples: float = 0.0, seconds: float = 0.0) -> None:
        """Start a window at the sums of ``loss`` and ``examples``, that many ``seconds`` ago."""
        self._loss, self._examples = loss, examples
        self._since = time.perf_counter() - seconds

    def _look(self) -> None:
        """Add what was taken in to the window, if all of it is finite."""
        if not self._seen:
            return
        losses = torch.stack([seen.loss for seen in self._seen]).float()  # (batches,)
        examples = losses.new_tensor([seen.examples for seen in self._seen])  # (batches,)
        finite = torch.stack([losses.sum(), *(norm.float() for _, norm in self._norms)]).isfinite().all()
        totals = torch.stack([losses @ examples, examples.sum(), (~finite).float()])  # (3,)
        loss, count, broken = self._accelerator.reduce(totals, reduction="sum").tolist()
        if broken:
            self._stop()
        scaler = self._accelerator.scaler
        if scaler is not None and scaler.is_enabled() and scaler.get_scale() < _SMALLEST_SCALE:
            raise UserError(
                f"training stops after {self._describe(self._seen[-1].place)}: gradients overflow fp16 however far the "
                "loss is scaled down; train with --precision bf16 or fp32"
            )
        self._loss += loss
        self._examples += count
        self._seen, self._norms = [], []

    def _stop(self) -> None:
        """Raise :class:`UserError` about the first loss or gradient, of all processes, that is not finite."""
        found = [(seen.place, "loss", seen.loss) for seen in self._seen]
        found += [(place, "norm of the gradient", norm) for place, norm in self._norms]
        broken = [
            (place.step, place.batch, f"{self._describe(place)}: the {what} is {number.item()}")
            for place, what, number in sorted(found, key=lambda one: one[0][:2])  # a loss before the norm it spoils
            if not number.isfinite()
        ]
        *_, description = min(gather_object(broken[:1]), key=lambda one: one[:2])
        raise UserError(f"training stops at {description}; {_WAY_OUT}")

    def _describe(self, place: Place) -> str:
        rows = place.rows.tolist() if isinstance(place.rows, torch.Tensor) else place.rows
        ids = ", ".join(self._ids_of(rows[:_NAMED])) + (", …" if len(rows) > _NAMED else "")
        return f"step {place.step}, batch {place.batch}{ids and f' ({ids})'}, learning rate {place.learning_rate:g}"

"""Forward and backward of a training step as CUDA graphs: recorded once for each shape of batch, then replayed.

A step of a transformer is some thousand kernels, which Python launches more slowly than a GPU computes them: a reader
of roberta-large's size trains at a third of what an H100 can do. A replay launches them all at once; the numbers are
the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn

from runtime.log import get_logger

logger = get_logger(__name__)

# Families whose forward never asks the GPU for a value, which cannot be recorded.
_FAMILIES = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
_MOST = 64  # graphs: batches of yet other shapes are computed as without them


class _Graph(NamedTuple):
    """A recording, and where it reads the batch and its share of the step from and leaves the loss."""

    graph: torch.cuda.CUDAGraph
    batch: dict[str, torch.Tensor]
    share: torch.Tensor
    loss: torch.Tensor

    def replay(self, batch: dict[str, torch.Tensor], share: float) -> torch.Tensor:
        torch._foreach_copy_(list(self.batch.values()), [batch[name] for name in self.batch])
        self.share.fill_(share)
        self.graph.replay()
        return self.loss.clone()  # the next replay overwrites it


def can_record(accelerator: Accelerator, model: nn.Module) -> bool:
    """Whether the steps of a reader, ``model``, can be recorded: one process, a GPU, no loss scaler, and no value that
    the processor waits for, as the recurrent heads do for the lengths of a batch."""
    return (
        accelerator.device.type == "cuda"
        and accelerator.num_processes == 1
        and accelerator.scaler is None
        and getattr(getattr(model, "config", None), "model_type", None) in _FAMILIES
        and not any(isinstance(module, nn.RNNBase) for module in model.modules())
    )


class CudaGraphs:
    """The graphs of the training of ``model``, which is on its device.

    Gradients stay where they are, for graphs add to them there: call :meth:`zero_grad` instead of the optimizer's.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = list(model.parameters())
        self._trained: list[bool] = []
        self._seen: set[Any] = set()
        self._graphs: dict[Any, _Graph] = {}
        self._pool: Any = None
        self._most = _MOST

    def backward(
        self, loss_of: Callable[[dict[str, torch.Tensor]], torch.Tensor], batch: dict[str, torch.Tensor], share: float
    ) -> torch.Tensor:
        """Add ``share`` times the gradient of ``loss_of(batch)`` to the weights' and return that loss (), detached.

        The first batch of a shape is computed as ever, which also readies the kernels; the second is recorded. Where
        that fails, which is warned of, no other is.
        """
        trained = [weight.requires_grad for weight in self._weights]
        if trained != self._trained:
            self._forget(trained)
        shape = tuple((name, *tensor.shape) for name, tensor in batch.items())
        if shape in self._graphs:
            return self._graphs[shape].replay(batch, share)
        if shape in self._seen and len(self._graphs) < self._most:
            try:
                self._graphs[shape] = self._record(loss_of, batch)
            except RuntimeError as error:  # too little memory, or what a driver cannot record
                self._most = 0
                reason = str(error).strip().partition("\n")[0]
                logger.warning("steps of new shapes are computed without CUDA graphs, as recording failed: %s", reason)
            else:
                return self._graphs[shape].replay(batch, share)
        self._seen.add(shape)
        loss = loss_of(batch)
        (loss * share).backward()
        return loss.detach()

    def zero_grad(self) -> None:
        """Set all gradients to zero where they are."""
        torch._foreach_zero_([weight.grad for weight in self._weights if weight.grad is not None])

    def _record(
        self, loss_of: Callable[[dict[str, torch.Tensor]], torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> _Graph:
        batch = {name: tensor.clone() for name, tensor in batch.items()}
        share = torch.ones((), device=next(iter(batch.values())).device)
        graph = torch.cuda.CUDAGraph()
        # recording computes nothing: gradients stay as they are until the replay; one that fails would keep its stream
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            loss = loss_of(batch)
            (loss * share).backward()
        self._pool = self._pool or graph.pool()  # no two graphs run at once
        return _Graph(graph, batch, share, loss.detach())

    def _forget(self, trained: list[bool]) -> None:
        """Begin again where other weights are trained: of one that stands still now, the optimizer must see no
        gradient."""
        self._trained = trained
        self._seen, self._graphs, self._pool = set(), {}, None
        for weight, is_trained in zip(self._weights, trained, strict=True):
            if not is_trained:
                weight.grad = None

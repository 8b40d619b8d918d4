"""Which weights stand still, and until which optimizer step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import PreTrainedModel

from models.loading import word_embeddings
from runtime.log import get_logger
from training.arguments import FreezeScheduleArguments

logger = get_logger(__name__)


class FreezeSchedule:
    """Freezes a reader's backbone for a range of optimizer steps, and its word embeddings for the whole run.

    A frozen weight gets no gradient, so the optimizer, which holds every weight that is ever trained, passes over
    it: neither Adam's moments nor weight decay touch it.
    """

    def __init__(
        self, model: PreTrainedModel, arguments: FreezeScheduleArguments, steps_per_epoch: int, total_steps: int
    ) -> None:
        steps = min(round(arguments.freeze_pretrained_weight_epoch * steps_per_epoch), total_steps)
        self.frozen_steps = {
            "none": range(0),
            "all": range(total_steps),
            "first": range(steps),
            "last": range(total_steps - steps, total_steps),
        }[arguments.freeze_pretrained_weight]
        self.total_steps = total_steps
        self._model = model
        self._frozen: bool | None = None
        self._embeddings = word_embeddings(model) if arguments.freeze_embedding_layer_weight else None

    def apply(self, step: int) -> None:
        """Freeze and thaw for optimizer step ``step`` (the first is 0)."""
        frozen = step in self.frozen_steps
        if frozen != self._frozen:
            self._log(step, frozen)
            self._frozen = frozen
        for parameter in self._model.base_model.parameters():
            parameter.requires_grad_(not frozen and parameter is not self._embeddings)

    def _log(self, step: int, frozen: bool) -> None:
        """Say what changes at ``step``, and before the first one what is to come."""
        if self._frozen is None and self._embeddings is not None:
            log_frozen("the word embeddings", [self._embeddings], self.total_steps, self.total_steps)
        backbone = [weight for weight in self._model.base_model.parameters() if weight is not self._embeddings]
        if frozen:
            log_frozen("the backbone", backbone, self.frozen_steps.stop, self.total_steps)
        elif self._frozen:
            log_thawed("the backbone", backbone, step)
        elif step < self.frozen_steps.start:
            logger.info("to be frozen from step %d of %d: the backbone", self.frozen_steps.start, self.total_steps)

    def trained_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Return the named parameters that are trained at some step."""
        never = {id(self._embeddings)}
        if len(self.frozen_steps) == self.total_steps:
            never |= {id(parameter) for parameter in self._model.base_model.parameters()}
        return [(name, value) for name, value in self._model.named_parameters() if id(value) not in never]


def freeze_embeddings(*models: PreTrainedModel) -> None:
    """Freeze the word embeddings of ``models``, some of which may be one, for the whole run."""
    embeddings = dict.fromkeys(map(word_embeddings, models))
    for weight in embeddings:
        weight.requires_grad_(False)
    log_frozen("the word embeddings", embeddings)


def log_frozen(what: str, weights: Iterable[torch.nn.Parameter], end: int = 0, total_steps: int = 0) -> None:
    """Say that ``weights`` are frozen from now until optimizer step ``end``; by default for the whole run."""
    until = f"step {end} of {total_steps}" if end < total_steps else "the end"
    logger.info("frozen until %s: %s (%s weights)", until, what, _count(weights))


def log_thawed(what: str, weights: Iterable[torch.nn.Parameter], step: int) -> None:
    """Say that ``weights`` are trained from optimizer step ``step`` on."""
    logger.info("thawed at step %d: %s (%s weights)", step, what, _count(weights))


def _count(weights: Iterable[torch.nn.Parameter]) -> str:
    return f"{sum(weight.numel() for weight in weights):,}"

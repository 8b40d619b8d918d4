"""Which weights stand still, and until which optimizer step."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from arguments import ModelArguments


class FreezeSchedule:
    """Freezes a reader's backbone for a range of optimizer steps, and its word embeddings for the whole run.

    A frozen weight gets no gradient, so the optimizer, which holds every weight that is ever trained, passes over
    it: neither Adam's moments nor weight decay touch it.
    """

    def __init__(
        self, model: PreTrainedModel, arguments: ModelArguments, steps_per_epoch: int, total_steps: int
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
        self._embeddings = model.get_input_embeddings().weight if arguments.freeze_embedding_layer_weight else None

    def apply(self, step: int) -> None:
        """Freeze and thaw for optimizer step ``step`` (the first is 0)."""
        frozen = step in self.frozen_steps
        for parameter in self._model.base_model.parameters():
            parameter.requires_grad_(not frozen and parameter is not self._embeddings)

    def trained_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Return the named parameters that are trained at some step."""
        never = {id(self._embeddings)}
        if len(self.frozen_steps) == self.total_steps:
            never |= {id(parameter) for parameter in self._model.base_model.parameters()}
        return [(name, value) for name, value in self._model.named_parameters() if id(value) not in never]

    @property
    def changes(self) -> bool:
        """Whether some weights are trained at one step and frozen at another."""
        return 0 < len(self.frozen_steps) < self.total_steps

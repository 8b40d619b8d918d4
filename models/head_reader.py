"""The reader of every head but linear: an encoder of any family with a head of ours on top."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from models.heads import head_class
from models.loading import encoder_class_of, explained, load_pretrained


@dataclass
class ReaderOutput(ModelOutput):
    """Start and end logits (batch, tokens), and the beam of a head that scores the end given the start.

    Such a head gives other shapes too: see ``models/heads/start_conditioned.py``.
    """

    start_logits: torch.Tensor | None = None
    end_logits: torch.Tensor | None = None
    beam_starts: torch.Tensor | None = None
    beam_end_logits: torch.Tensor | None = None


class HeadReader(PreTrainedModel):
    """An encoder under the attribute that its family gives it, and ``head``, as ``config.reader_head`` says.

    ``reader_head`` holds the head's ``name``, its ``dropout`` and its other parameters. :func:`head_reader_class`
    completes this class with the base class of the encoder's family, so that ``base_model``, the choice of attention
    and ``AutoModel.from_pretrained(folder)`` work as they do for the family's own models.
    """

    encoder_class: type[PreTrainedModel]
    encoder_options: dict[str, Any]

    def __init__(self, config: PretrainedConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        setattr(self, self.base_model_prefix, encoder or self.encoder_class(config, **self.encoder_options))
        parameters = dict(config.reader_head)
        self.head = head_class(parameters.pop("name"))(config.hidden_size, **parameters)
        self.post_init()

    @property
    def label_inputs(self) -> tuple[str, ...]:
        """The labels of a batch that the head takes besides the tokens."""
        return getattr(self.head, "label_inputs", ())

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **inputs: torch.Tensor,
    ) -> ReaderOutput:
        """Return the logits of ``input_ids`` (batch, tokens).

        ``attention_mask`` (batch, tokens) is 1 for tokens, 0 for padding; ``inputs`` are the labels in
        ``label_inputs``, and whatever else the family's encoder takes.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)  # (batch, tokens)
        labels = {name: inputs.pop(name) for name in self.label_inputs if name in inputs}
        hidden_states = self.base_model(input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        return ReaderOutput(*self.head(hidden_states, attention_mask.bool(), **labels))  # from (batch, tokens, hidden)


def load_head_reader(
    name: str, config: PretrainedConfig, attention: str | None, new_head: bool
) -> tuple[HeadReader, list[str]]:
    """Return the reader in ``name`` and which of its weights are not there; with ``new_head`` only its encoder is."""
    with explained("model", name):
        reader_class = head_reader_class(config)
        if not new_head:
            return load_pretrained(reader_class, name, config, attention)
        # the weights of another head may have the names and shapes of this one's
        encoder_class, options = reader_class.encoder_class, reader_class.encoder_options
        encoder, missing = load_pretrained(encoder_class, name, config, attention, **options)
        reader = reader_class(encoder.config, encoder).eval()
    new = [f"head.{key}" for key in reader.head.state_dict()]
    return reader, [f"{reader.base_model_prefix}.{key}" for key in missing] + new


def head_reader_class(config: PretrainedConfig) -> type[HeadReader]:
    """Return the :class:`HeadReader` of the encoder family that ``config`` belongs to."""
    encoder_class = encoder_class_of(config)
    family = next(base for base in encoder_class.__mro__[1:] if issubclass(base, PreTrainedModel))
    has_pooler = "add_pooling_layer" in inspect.signature(encoder_class).parameters
    parts = {"encoder_class": encoder_class, "encoder_options": {"add_pooling_layer": False} if has_pooler else {}}
    name = f"{encoder_class.__name__.removesuffix('Model')}HeadReader"
    return type(name, (HeadReader, family), {"__module__": __name__, **parts})

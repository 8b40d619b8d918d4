"""The registry of reader heads: from a backbone's token vectors to start and end logits.

A head is a function that builds a reader: it takes the configuration and what to load from, and returns a
``PreTrainedModel`` whose forward gives ``start_logits`` and ``end_logits`` (batch, tokens), with the names of the
weights that were not in the checkpoint, or not in the size of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from transformers import AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel

from runtime.errors import UserError


def linear(name: str, config: PretrainedConfig, **loading: Any) -> tuple[PreTrainedModel, set[str]]:
    """One linear layer, tokens to two logits: Transformers' own question answering model of the encoder family.

    Its checkpoints are ordinary ``AutoModelForQuestionAnswering`` checkpoints in both directions.
    (Devlin et al. 2019, section 4.2.)
    """
    model, info = AutoModelForQuestionAnswering.from_pretrained(
        name, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **loading
    )
    if config.reader_head["dropout"] > 0:
        model.base_model.register_forward_hook(_drop_hidden_states)
    return model, {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}


def _drop_hidden_states(backbone: PreTrainedModel, _inputs: Any, output: Any) -> Any:
    """Apply the head's dropout to the backbone's last hidden state (batch, tokens, hidden)."""
    ratio = backbone.config.reader_head["dropout"]
    output.last_hidden_state = F.dropout(output.last_hidden_state, ratio, training=backbone.training)
    return output


HEADS: dict[str, Callable[..., tuple[PreTrainedModel, set[str]]]] = {"linear": linear}


def get_head(name: str) -> Callable[..., tuple[PreTrainedModel, set[str]]]:
    """Return the builder of head ``name``; raise :class:`UserError` with the choices if there is none."""
    if name not in HEADS:
        raise UserError(f"--head {name} is not a reader head; choose from: {', '.join(HEADS)}")
    return HEADS[name]

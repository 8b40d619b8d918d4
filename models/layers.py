"""The layers of an encoder of any family, told by the names of its weights."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from runtime.errors import UserError
from runtime.log import get_logger

logger = get_logger(__name__)


def layer_numbers(names: Sequence[str]) -> dict[str, int]:
    """Return the layer of each of an encoder's parameters that is of one, from the lowest, and -1 for embeddings.

    Layers are numbered as they come, an encoder's before its decoder's. The first number in a name tells them apart,
    with those right behind it (``blocks.0.1`` of a Funnel); what comes before all layers, or says so, is an embedding.
    """
    found: dict[str, int] = {}
    layers: dict[str, int] = {}
    for name in names:
        if layer := re.match(r".*?\.\d+(?:\.\d+)*(?=\.)", name):
            layers[name] = found.setdefault(layer[0], len(found))
        elif not found or "embed" in name:
            layers[name] = -1
    return layers


def reinitialise_layers(model: PreTrainedModel, count: int) -> None:
    """Give the topmost ``count`` layers of a reader's encoder new random weights, as before any pretraining.

    What these layers learnt last is the pretraining's own task, which a new one has to unlearn first (Zhang et al.
    2021, Revisiting Few-sample BERT Fine-tuning, section 5). Matrices are drawn with the ``initializer_range`` of the
    model, biases are 0 and scales 1. Raises :class:`UserError` where there are fewer layers.
    """
    layers = layer_numbers([name for name, _ in model.base_model.named_parameters()])
    top = max(layers.values(), default=-1)
    if count > top + 1:
        raise UserError(f"--reinit_layers {count} is more than {model.name_or_path} has ({top + 1} layers)")
    deviation = getattr(model.config, "initializer_range", None) or 0.02
    for name, weight in model.base_model.named_parameters():
        if layers.get(name, -1) <= top - count:
            continue
        if weight.ndim > 1:
            nn.init.normal_(weight, std=deviation)
        else:  # the scale of a normalisation or a bias
            nn.init.constant_(weight, 1.0 if name.endswith("weight") else 0.0)
    logger.info("new weights in the topmost %d of %d layers", count, top + 1)

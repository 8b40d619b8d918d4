"""The registry of reader heads: from an encoder's hidden states to start and end logits.

A head is a module ``head(hidden_states (batch, tokens, hidden), mask (batch, tokens)) -> (start_logits, end_logits)``,
``mask`` being true for tokens and the logits (batch, tokens); the padding of a batch changes no token's logits. Its
``__init__`` takes the hidden size, the dropout before the head, and the parameters of its own, with defaults. Each of
these has a flag ``head_<parameter>`` in the registry, None by default.

Nothing here imports torch: command lines are read before it.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, NamedTuple

from runtime.errors import UserError
from runtime.flags import declared, flag


class Head(NamedTuple):
    """Where a head is, as ``module.Class`` of this folder, and the flags of its parameters.

    No place means Transformers' own question answering model of the encoder's family.
    """

    place: str | None
    flags: type | None = None


def _sds(kind: type, what: str, usual: Any, **bounds: int) -> tuple[Any, Any]:
    return kind | None, flag(None, f"cnn_sds: {what} (default: the checkpoint's own, else {usual}).", **bounds)


HEADS = {
    "linear": Head(None),
    "cnn_sds": Head(
        "convolution.SDSCNN",
        declared(
            "reader",
            head_shared=_sds(bool, "one block's weights for all turns", True),
            head_channels=_sds(int, "channels inside a block", 128, at_least=1, at_most=2**16),
            head_kernel_size=_sds(int, "tokens that a block's first convolution sees", 3, at_least=1, at_most=2**10),
            head_repeats=_sds(int, "turns of the block", 5, at_least=1, at_most=1_000),
        ),
    ),
    "cnn": Head("convolution.CNN"),
    "lstm": Head("recurrent.LSTM"),
    "lstm_ln": Head("recurrent.LSTMWithNorm"),
    "rnn": Head("recurrent.RNN"),
    "lstm_cnn": Head("recurrent.LSTMThenCNN"),
    "attention": Head("attention.Attention"),
    "attention_ln": Head("attention.AttentionWithNorm"),
    "attention_cnn": Head("attention.AttentionThenCNN"),
    "cnn_attention": Head("attention.CNNThenAttention"),
    "multi_head_attention": Head("attention.MultiHeadAttention"),
    "passage_selection": Head("passage_selection.PassageSelection"),
    "start_conditioned_end": Head("start_conditioned.StartConditionedEnd"),
}

ALIASES = {
    "CustomRobertaForQuestionAnsweringWithRNNHead": "rnn",
    "CustomRobertaForQuestionAnsweringWithCNNHead": "cnn",
    "CustomRobertaForQuestionAnsweringWithLSTMCNNHead": "lstm_cnn",
    "CustomRobertaForQuestionAnsweringWithLSTMLNHead": "lstm_ln",
    "CustomRobertaForQuestionAnsweringWithAttentionHead": "attention",
    "CustomRobertaForQuestionAnsweringWithAttentionWithLNHead": "attention_ln",
    "CustomRobertaForQuestionAnsweringWithAttentionCNNHead": "attention_cnn",
    "CustomRobertaForQuestionAnsweringWithCNNAttentionHead": "cnn_attention",
    "CustomRobertaForQuestionAnsweringWithMultiHeadAttentionHead": "multi_head_attention",
    "Bert_CNN_Answering": "cnn_sds",
}


def head_name(name: str) -> str:
    """Return the registered name of head ``name``, which may be an alias; :class:`UserError` with the choices."""
    name = ALIASES.get(name, name)
    if name not in HEADS:
        raise UserError(f"--head {name} is not a reader head; choose from: {', '.join(HEADS)}")
    return name


def head_class(name: str) -> type:
    """Return the ``torch.nn.Module`` of the registered head ``name``; ``ValueError`` for one that has none."""
    place = HEADS[name].place
    if place is None:
        raise ValueError(f"the {name} head is part of Transformers' own model")
    module, _, class_name = place.partition(".")
    return getattr(import_module(f"models.heads.{module}"), class_name)


def default_parameters(name: str) -> dict[str, Any]:
    """Return the parameters of head ``name`` besides hidden size and dropout, with their defaults."""
    if HEADS[name].place is None:
        return {}
    parameters = inspect.signature(head_class(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}

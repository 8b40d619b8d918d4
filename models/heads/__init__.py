"""The registry of reader heads: from an encoder's hidden states to start and end logits.

A head is a module ``head(hidden_states (batch, tokens, hidden), mask (batch, tokens)) -> (start_logits, end_logits)``,
``mask`` being true for tokens and the logits (batch, tokens); the padding of a batch changes no token's logits. Its
``__init__`` takes the hidden size, the dropout before the head, and the parameters of its own, with defaults.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from models.heads.attention import (
    Attention,
    AttentionThenCNN,
    AttentionWithNorm,
    CNNThenAttention,
    MultiHeadAttention,
)
from models.heads.convolution import CNN, SDSCNN
from models.heads.recurrent import LSTM, RNN, LSTMThenCNN, LSTMWithNorm
from models.heads.start_conditioned import StartConditionedEnd
from runtime.errors import UserError

HEADS: dict[str, type[nn.Module] | None] = {
    "linear": None,  # Transformers' own question answering model of the encoder family
    "cnn_sds": SDSCNN,
    "cnn": CNN,
    "lstm": LSTM,
    "lstm_ln": LSTMWithNorm,
    "rnn": RNN,
    "lstm_cnn": LSTMThenCNN,
    "attention": Attention,
    "attention_ln": AttentionWithNorm,
    "attention_cnn": AttentionThenCNN,
    "cnn_attention": CNNThenAttention,
    "multi_head_attention": MultiHeadAttention,
    "start_conditioned_end": StartConditionedEnd,
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


def default_parameters(name: str) -> dict[str, Any]:
    """Return the parameters of head ``name`` besides hidden size and dropout, with their defaults."""
    if HEADS[name] is None:
        return {}
    parameters = inspect.signature(HEADS[name]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}

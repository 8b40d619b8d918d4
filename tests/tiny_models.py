"""Tiny random models for tests."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast


def tiny_bert_config(tokenizer: PreTrainedTokenizerFast) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
    )


def tiny_bert(tokenizer: PreTrainedTokenizerFast) -> BertModel:
    """A tiny random encoder for ``tokenizer``."""
    torch.manual_seed(0)
    return BertModel(tiny_bert_config(tokenizer), add_pooling_layer=False)

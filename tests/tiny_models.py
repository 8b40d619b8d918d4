"""Tiny random models for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertForQuestionAnswering, BertModel, PreTrainedTokenizerFast

from models import save_reader


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


def tiny_reader(tokenizer: PreTrainedTokenizerFast, seed: int, hidden: int = 32) -> BertForQuestionAnswering:
    """A tiny random reader for ``tokenizer``, another one for each ``seed``."""
    config = tiny_bert_config(tokenizer)
    config.hidden_size = hidden
    config.reader_head = {"name": "linear", "dropout": 0.1 * seed}
    torch.manual_seed(seed)
    return BertForQuestionAnswering(config)


def save_checkpoints(run: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write a run of four checkpoints; exact match 10, 40, 30, 40 at steps 5, 20, 100 and 300."""
    for seed, (step, exact_match) in enumerate([(5, 10.0), (20, 40.0), (100, 30.0), (300, 40.0)]):
        records = {"metrics": {"step": step, "eval_exact_match": exact_match}, "arguments": {"seed": seed}}
        save_reader(run / f"checkpoint-{step}", tiny_reader(tokenizer, seed), tokenizer, records)
    (run / "best").mkdir()

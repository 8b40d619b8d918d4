"""Tiny random models for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_data import characters
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

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


def tiny_reranker(tokenizer: PreTrainedTokenizerFast) -> BertForSequenceClassification:
    """A tiny random cross-encoder for ``tokenizer``."""
    torch.manual_seed(0)
    config = tiny_bert_config(tokenizer)
    config.num_labels = 1
    config.initializer_range = 0.3  # scores that differ
    return BertForSequenceClassification(config)


def save_checkpoints(run: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write a run of four checkpoints; exact match 10, 40, 30, 40 at steps 5, 20, 100 and 300."""
    for seed, (step, exact_match) in enumerate([(5, 10.0), (20, 40.0), (100, 30.0), (300, 40.0)]):
        records = {"metrics": {"step": step, "eval_exact_match": exact_match}, "arguments": {"seed": seed}}
        save_reader(run / f"checkpoint-{step}", tiny_reader(tokenizer, seed), tokenizer, records)
    (run / "best").mkdir()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Word pieces as klue/bert-base has them (``token_type_ids`` included), a piece being one character or a word."""
    words = ["조선", "대한민국", "태양", "행성", "서울", "수성", "금성"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    pieces += [piece for character in characters() for piece in (character, f"##{character}")]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )

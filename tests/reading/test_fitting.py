"""What is tried takes what reading and training take, leaves no trace, and decides the batch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import BertForQuestionAnswering, PreTrainedTokenizerFast

import reading.fitting
from reading.batching import FeatureCollator
from reading.fitting import fit_reading, try_reading, try_training


@pytest.fixture
def model(reader_path: str, device: torch.device) -> BertForQuestionAnswering:
    return BertForQuestionAnswering.from_pretrained(reader_path).train().to(device)


@pytest.fixture
def collator(model: torch.nn.Module, bert_tokenizer: PreTrainedTokenizerFast) -> FeatureCollator:
    return FeatureCollator(model, bert_tokenizer)


def test_what_is_tried_is_the_longest_batch_and_leaves_no_trace(model, collator) -> None:
    before = {name: values.clone() for name, values in model.state_dict().items()}
    shapes, gradients = [], []
    model.bert.embeddings.register_forward_hook(lambda *found: shapes.append((model.training, found[-1].shape[:2])))
    model.qa_outputs.weight.register_hook(lambda gradient: gradients.append(gradient.abs().sum().item()))
    random = torch.random.get_rng_state()
    try_reading(model, collator, 64, "fp32", 3)
    try_training(model, collator, 128, "fp32", 2)
    assert shapes == [(False, (3, 64)), (True, (2, 128))]
    assert len(gradients) == 1 and gradients[0] > 0
    assert all(weight.grad is None for weight in model.parameters()) and model.training
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, values in model.state_dict().items():
        assert torch.equal(values.cpu(), before[name].cpu()), name


def test_auto_is_32_on_a_cpu_and_what_fits_elsewhere(model, collator, monkeypatch, log_lines) -> None:
    args = SimpleNamespace(per_device_eval_batch_size="auto", max_seq_len=384)
    assert fit_reading(args, model.cpu(), collator, "fp32") == args.per_device_eval_batch_size == 32
    assert "INFO --per_device_eval_batch_size auto is 32 on this device" in log_lines

    tried = []

    def attempt(model, collator, tokens, precision, rows) -> None:
        tried.append((rows, tokens))
        if rows > 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")

    monkeypatch.setattr(reading.fitting, "try_reading", attempt)
    args.per_device_eval_batch_size = "auto"
    assert fit_reading(args, SimpleNamespace(device=torch.device("cuda")), collator, "bf16") == 64
    assert tried == [(128, 384), (64, 384)]  # of 384 tokens 170 would be 65,536
    assert fit_reading(args, SimpleNamespace(device=torch.device("cuda")), collator, "bf16") == 64
    assert len(tried) == 2  # it is settled

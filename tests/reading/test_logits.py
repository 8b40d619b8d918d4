"""Reading gives every feature's logits, in order, as the model alone would give them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from comparing import assert_close, close_to, is_close
from datasets import Dataset
from tiny_models import tiny_bert
from transformers import BertForQuestionAnswering, PreTrainedTokenizerFast

import reading.logits
from models.span_loss import span_loss
from reading.batching import FeatureCollator
from reading.features import build_features
from reading.logits import Logits, read_features


@pytest.fixture
def model(reader_path: str, device: torch.device) -> BertForQuestionAnswering:
    """A reader in training mode, with dropout."""
    model = BertForQuestionAnswering.from_pretrained(reader_path, attn_implementation="eager").train().to(device)
    assert model.config.hidden_dropout_prob > 0
    return model


@pytest.fixture
def features(examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """Features of various lengths, several of some examples, with labels in them and on [CLS]."""
    return build_features(examples, bert_tokenizer, 64, 16)


@pytest.fixture
def collator(bert_tokenizer: PreTrainedTokenizerFast) -> FeatureCollator:
    return FeatureCollator(tiny_bert(bert_tokenizer), bert_tokenizer)


def _read(model, features, collator, batch_size: int = 4, precision: str = "fp32", accelerator=None) -> Logits:
    return read_features(model, features, collator, batch_size, precision, accelerator=accelerator)


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_logits_and_loss_are_those_of_every_feature_alone(
    model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator, batch_size: int
) -> None:
    logits = _read(model, features, collator, batch_size)
    lengths = list(features["length"])
    assert len(set(lengths)) > 3
    assert logits.start.shape == logits.end.shape == (len(features), max(lengths))
    assert logits.start.dtype == logits.end.dtype == np.float32
    losses = []
    model.eval()
    for row, feature in enumerate(features):
        batch = {name: values.to(model.device) for name, values in collator([feature]).items()}
        labels = {name: batch.pop(name) for name in ("start_positions", "end_positions", "answer_mask")}
        with torch.no_grad():
            outputs = model(**batch)
        losses.append(span_loss(outputs.start_logits, outputs.end_logits, **labels).item())
        length = lengths[row]
        for found, expected in ((logits.start, outputs.start_logits), (logits.end, outputs.end_logits)):
            assert_close(found[row, :length], expected[0, :length])
            assert (found[row, length:] == -np.inf).all()
    assert logits.loss == close_to(np.mean(losses))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_model_is_left_as_it_was(
    model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator, training: bool, attention: str
) -> None:
    model.set_attn_implementation(attention)
    model.train(training)
    used: list[tuple[bool, str, bool]] = []
    model.qa_outputs.register_forward_hook(
        lambda *_: used.append((model.training, model.config._attn_implementation, torch.is_grad_enabled()))
    )
    _read(model, features, collator)
    assert set(used) == {(False, "sdpa", False)}
    assert (model.training, model.bert.training) == (training, training)
    assert model.config._attn_implementation == attention


def test_the_model_is_left_as_it_was_when_reading_fails(
    model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator
) -> None:
    def fail(*_):
        raise MemoryError

    model.qa_outputs.register_forward_hook(fail)
    with pytest.raises(MemoryError):
        _read(model, features, collator)
    assert model.training and model.config._attn_implementation == "eager"


def test_a_family_without_sdpa_is_read_with_what_it_has(
    model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_supports_sdpa", False)
    monkeypatch.setattr(model, "set_attn_implementation", pytest.fail)
    assert np.isfinite(_read(model, features, collator).loss)


def test_bf16_is_nearly_the_same_and_comes_back_as_float32(
    model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator
) -> None:
    exact, rounded = (_read(model, features, collator, precision=precision) for precision in ("fp32", "bf16"))
    assert rounded.start.dtype == np.float32
    assert not is_close(rounded.start, exact.start)
    inside = np.isfinite(exact.start)
    np.testing.assert_allclose(rounded.start[inside], exact.start[inside], atol=0.02)
    assert np.isfinite(rounded.start[inside]).all()


def test_nothing_to_read(model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator) -> None:
    logits = _read(model, features.select([]), collator)
    assert (logits.start.shape, logits.end.shape, logits.loss) == ((0, 0), (0, 0), 0)


def test_processes_share_the_features_and_each_gets_everything(
    model: BertForQuestionAnswering, features: Dataset, collator: FeatureCollator, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = _read(model, features, collator, batch_size=2)
    shares: list[list] = []

    def reading_as(process: int) -> Logits:
        accelerator = SimpleNamespace(num_processes=2, process_index=process, is_local_main_process=process == 0)
        return _read(model, features, collator, batch_size=2, accelerator=accelerator)

    monkeypatch.setattr(reading.logits, "gather_object", lambda share: shares.append(share) or share)
    for process in (0, 1):
        reading_as(process)
    (rows, losses), (other_rows, other_losses) = shares[:2], shares[2:]
    assert sorted(row for row, *_ in rows + other_rows) == list(range(len(features)))
    assert abs(len(rows) - len(other_rows)) <= 2

    gathered = iter([rows + other_rows, losses + other_losses])
    monkeypatch.setattr(reading.logits, "gather_object", lambda _: next(gathered))
    together = reading_as(1)
    assert_close(together.start, alone.start)
    assert_close(together.end, alone.end)
    assert together.loss == close_to(alone.loss)

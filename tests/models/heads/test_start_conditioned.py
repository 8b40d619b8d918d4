"""The head that scores the end given the start: what it gives, and the answers read off it, by brute force."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import assert_close, close_to
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from arguments import DatasetArguments
from models import load_reader
from models.heads.start_conditioned import StartConditionedEnd
from models.span_loss import reader_loss
from processor import QAProcessor
from reading.batching import FeatureCollator
from reading.decoding import best_spans
from reading.logits import read_features

BEAM, LONGEST, N_BEST = 5, 6, 4


@pytest.fixture
def model(encoder_path: str, device: torch.device) -> PreTrainedModel:
    model = load_reader(encoder_path, "start_conditioned_end", backbone_dropout=0.0, attention="eager").to(device)
    torch.manual_seed(0)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def qa_processor(dataset_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> QAProcessor:
    """Some contexts take two windows, and questions may have no answer."""
    arguments = DatasetArguments(
        postprocess="none",
        dataset_path=dataset_path,
        max_seq_len=64,
        stride_len=16,
        cache_dir=str(tmp_path),
        max_ans_len=LONGEST,
        n_best_size=N_BEST,
        version_2_with_negative=True,
    )
    return QAProcessor(arguments, bert_tokenizer)


@torch.no_grad()
def start_and_pair_logits(model: PreTrainedModel, feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Start logits (tokens,), and end logits (tokens, tokens) given each start, by the equations."""
    head = model.head
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = {name: torch.tensor([feature[name]], device=model.device) for name in names}
    h = model.base_model(**inputs).last_hidden_state[0]  # (tokens, hidden)
    layer = torch.cat([head.of_end.weight, head.of_start.weight], dim=1)  # (hidden, 2 * hidden)
    pair_logits = []
    for start in range(len(h)):
        pairs = torch.cat([h, h[start].expand_as(h)], dim=1)  # (tokens, 2 * hidden): [h_j; h_i]
        features = head.norm(torch.tanh(pairs @ layer.T + head.of_end.bias))  # (tokens, hidden)
        pair_logits.append(head.logits.linear(features)[:, 1])
    return head.logits.linear(h)[:, 0].cpu().numpy(), torch.stack(pair_logits).cpu().numpy()


def log_softmax(logits: np.ndarray, answer_mask: list[int]) -> np.ndarray:
    return logits - math.log(sum(np.exp(logits[np.array(answer_mask, dtype=bool)]).tolist()))


def test_training_scores_the_end_given_the_gold_starts(model: PreTrainedModel, qa_processor: QAProcessor) -> None:
    features = [qa_processor.get_train_features()[row] for row in range(4)]
    several = [features[1]["length"] - 2 - position for position in (9, 7, 9)]  # in the context, which comes last
    features[1] |= {"gold_starts": several, "gold_ends": [several[0] + 1, several[1], several[1]]}
    expected = 0.0
    for feature in features:
        start, pairs = start_and_pair_logits(model, feature)
        likelihood = 0.0
        for first, last in zip(feature["gold_starts"], feature["gold_ends"], strict=True):
            end = log_softmax(pairs[first], feature["answer_mask"])
            likelihood += math.exp(log_softmax(start, feature["answer_mask"])[first] + end[last])
        expected += -math.log(likelihood) / 2 / len(features)
    batch = FeatureCollator(model, qa_processor.tokenizer)(features)
    loss, outputs = reader_loss(model.train(), {name: values.to(model.device) for name, values in batch.items()})
    assert loss.item() == close_to(expected)
    assert set(outputs) == {"start_logits", "end_logits"}  # no time for a beam that nobody reads


def test_reading_gives_a_beam_of_the_best_starts(model: PreTrainedModel, qa_processor: QAProcessor) -> None:
    features = qa_processor.get_eval_features()
    logits = read_features(model, features, FeatureCollator(model, qa_processor.tokenizer), 4, "fp32")
    assert logits.beam_starts.shape == (len(features), BEAM + 1)
    losses = []
    for row, feature in enumerate(features):
        start, pairs = start_and_pair_logits(model, feature)
        context = [position for position, span in enumerate(feature["offset_mapping"]) if span is not None]
        beam = [*sorted(context, key=lambda position: -start[position])[:BEAM], feature["cls_index"]]
        assert logits.beam_starts[row].tolist() == beam
        tokens = feature["length"]
        assert_close(logits.start[row, :tokens], start)
        assert_close(logits.end[row, :, :tokens], pairs[beam])
        assert np.isneginf(logits.end[row, :, tokens:]).all()
        (first,), (last,) = feature["gold_starts"], feature["gold_ends"]
        probabilities = (
            log_softmax(start, feature["answer_mask"])[first],
            log_softmax(pairs[first], feature["answer_mask"])[last],
        )
        losses.append(-sum(probabilities) / 2)
    assert logits.loss == close_to(np.mean(losses))


def test_answers_are_the_best_spans_of_the_beam(model: PreTrainedModel, qa_processor: QAProcessor) -> None:
    examples, features = qa_processor.get_eval_examples(), qa_processor.get_eval_features()
    assert len(features) > len(examples)
    logits = read_features(model, features, FeatureCollator(model, qa_processor.tokenizer), 4, "fp32")
    found = qa_processor.find_answers(examples, features, logits.predictions)
    for index, example in enumerate(examples):
        spans: dict[tuple[int, int], float] = {}
        null_scores = []
        for feature in features:
            if feature["example_index"] != index:
                continue
            start, pairs = start_and_pair_logits(model, feature)
            offsets, cls_index = feature["offset_mapping"], feature["cls_index"]
            context = [position for position, span in enumerate(offsets) if span is not None]
            null_scores.append(start[cls_index] + pairs[cls_index, cls_index])
            for first in sorted(context, key=lambda position: -start[position])[:BEAM]:
                for last in range(first, min(first + LONGEST, context[-1] + 1)):
                    span, score = (offsets[first][0], offsets[last][1]), float(start[first] + pairs[first, last])
                    spans[span] = max(score, spans.get(span, -math.inf))
        expected = sorted(spans, key=lambda span: -spans[span])
        *answers, no_answer = sorted(found[example["id"]], key=lambda answer: answer.text == "")
        assert no_answer.score == 0
        assert answers[0].text == example["context"][slice(*expected[0])]
        for answer in answers:
            assert answer.span_score == pytest.approx(spans[answer.start, answer.end] - min(null_scores), abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_spans_of_a_beam_are_the_exhaustive_ones(seed: int) -> None:
    random = np.random.default_rng(seed)
    tokens, longest, n_best = int(random.integers(3, 30)), int(random.integers(1, 8)), int(random.integers(1, 40))
    start, allowed = random.normal(size=tokens).astype(np.float32), random.random(tokens) < 0.7
    beam = random.permutation(tokens)[:BEAM]
    end = random.normal(size=(len(beam), tokens)).astype(np.float32)
    segments = np.sort(random.integers(0, 3, tokens)) if seed % 2 else None
    expected = sorted(
        (
            (start[first] + end[index, last], -first, -last)
            for index, first in enumerate(beam)
            for last in range(first, min(first + longest, tokens))
            if allowed[first] and allowed[last] and (segments is None or segments[first] == segments[last])
        ),
        reverse=True,
    )[:n_best]
    of_window = [None if array is None else array[None] for array in (start, end, allowed, segments, beam)]
    spans = best_spans(*of_window[:3], longest, n_best, *of_window[3:])
    assert list(zip(spans.scores, -spans.starts, -spans.ends, strict=True)) == expected


def test_where_there_are_fewer_starts_than_the_beam_takes_cls_fills_it() -> None:
    head = StartConditionedEnd(8, dropout=0.0).eval()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1, 0, 0]])
    answer_mask = torch.tensor([[1, 0, 0, 0, 0, 1, 1, 0, 0, 0]])
    zero = torch.tensor([[0]])
    _, _, beam, end_logits = head(torch.randn(1, 10, 8), mask.bool(), answer_mask, zero[0], zero)
    assert sorted(beam[0, :2].tolist()) == [5, 6] and beam[0, 2:].tolist() == [0] * (BEAM - 1)
    assert end_logits.shape == (1, BEAM + 1, 10)

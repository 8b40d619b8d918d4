"""What is counted about windows is what the features are."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from tiny_data import PASSAGES
from transformers import PreTrainedTokenizerFast

from reading.features import make_features
from reading.token_lengths import Settings, count_windows, measure, suggest, too_long
from runtime.errors import UserError


@pytest.fixture(scope="module")
def long_examples() -> Dataset:
    """Questions and contexts of every length, gold answers everywhere in them, several to one and none to some."""
    rng, text = np.random.default_rng(0), " ".join(text for _, text in PASSAGES)
    rows = []
    for number in range(60):
        context = text[: rng.integers(5, len(text))]
        starts = rng.integers(len(context), size=rng.integers(0, 3))
        texts = [context[start : start + rng.integers(1, 40)] for start in starts.tolist()]
        kept = [(one, start) for one, start in zip(texts, starts.tolist(), strict=True) if one.strip()]
        answers = {"text": [one for one, _ in kept], "answer_start": [start for _, start in kept]}
        question = text[: rng.integers(3, 60)]
        rows.append({"id": str(number), "title": "", "question": question, "context": context, "answers": answers})
    return Dataset.from_list(rows)


@pytest.mark.parametrize("family", ["bert_tokenizer", "roberta_tokenizer"])
@pytest.mark.parametrize(("max_seq_len", "stride_len"), [(64, 16), (80, 5), (100, 40), (128, 0), (1000, 128)])
def test_windows_and_lost_answers_are_those_of_the_features(
    long_examples: Dataset, family: str, max_seq_len: int, stride_len: int, request: pytest.FixtureRequest
) -> None:
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(family)
    count = len(long_examples)
    features = make_features(long_examples[:], range(count), tokenizer, max_seq_len, stride_len).to_pydict()
    expected = np.bincount(features["example_index"], minlength=count)
    held = np.zeros(count, dtype=bool)
    for row, firsts, none in zip(
        features["example_index"], features["gold_starts"], features["cls_index"], strict=True
    ):
        held[row] |= firsts != [none]
    answerable = np.array([bool(answers["text"]) for answers in long_examples["answers"]])

    lengths = measure(long_examples, tokenizer)
    windows, lost = count_windows(lengths, tokenizer, Settings(max_seq_len, stride_len, 30))
    assert windows.tolist() == expected.tolist()
    assert lost.tolist() == (answerable & ~held).tolist()
    assert lost.any() or stride_len > 5  # there is something to lose


def test_lengths_are_those_of_the_tokenizer(examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast) -> None:
    lengths = measure(examples, bert_tokenizer)

    def tokens(texts: list[str]) -> list[int]:
        return [len(bert_tokenizer.tokenize(text)) for text in texts]

    assert lengths.questions.tolist() == tokens(examples["question"])
    assert lengths.contexts.tolist() == tokens(examples["context"])
    assert lengths.answers[1] == len(bert_tokenizer.tokenize("장영실")) == 3
    assert lengths.gold_rows.tolist() == list(range(12)) and lengths.answerable.all()
    longest = int(lengths.answers.max())
    assert not too_long(lengths, Settings(128, 16, longest)).any()
    assert too_long(lengths, Settings(128, 16, longest - 1)).sum() == (lengths.answers == longest).sum()


def test_an_answer_that_is_short_enough_will_do(examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast) -> None:
    row = examples[0] | {"answers": {"text": ["세종은 조선의 제4대 왕이다", "세종"], "answer_start": [0, 0]}}
    none = examples[1] | {"answers": {"text": [], "answer_start": []}}
    lengths = measure(Dataset.from_list([row, none]), bert_tokenizer)
    assert too_long(lengths, Settings(128, 16, 2)).tolist() == [False, False]
    assert too_long(lengths, Settings(128, 16, 1)).tolist() == [True, False]


def test_suggested_settings_lose_nothing_where_they_can(
    long_examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast
) -> None:
    lengths = measure(long_examples, bert_tokenizer)
    found = suggest([lengths], bert_tokenizer, 512)
    windows, lost = count_windows(lengths, bert_tokenizer, found)
    assert found.max_seq_len % 64 == 0 and (windows == 1).mean() >= 0.95 and not lost.any()
    assert not too_long(lengths, found).any() and found.max_ans_len < lengths.answers.max() + 5
    halves = [measure(long_examples.select(rows), bert_tokenizer) for rows in (range(30), range(30, 60))]
    assert suggest(halves, bert_tokenizer, 512) == found

    short = suggest([lengths], bert_tokenizer, 128)
    assert (short.max_seq_len, short.stride_len) == (128, 64)
    assert not count_windows(lengths, bert_tokenizer, short)[1].any()


def test_a_window_without_room_is_refused(examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="--max_seq_len 64 leaves no room for a question beside --stride_len 60"):
        count_windows(measure(examples, bert_tokenizer), bert_tokenizer, Settings(64, 60, 30))

"""Answers: always text of a passage, weighed by hand-computed scores, never from the question."""

from __future__ import annotations

import copy
import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from tokenizers import Regex, normalizers
from transformers import PreTrainedTokenizerFast

from reading.answers import Answer, find_answers, nbest_of
from reading.arguments import AnswerArguments
from reading.features import build_features
from reading.passages import gold_passages, joined_passages, separate_passages
from reading.predictions import predictions_of

LOW = -30.0
CLS, QUESTION = 0, 1
CONTEXT = 3  # where the context begins in a hand-made feature, one token a character


class Pages:
    """Hand-made reading examples: one token a character after ``[CLS]``, one question token and ``[SEP]``."""

    def __init__(self) -> None:
        self.examples: list[dict] = []
        self.features: list[dict] = []
        self.logits: list[tuple[dict[int, float], dict[int, float], int]] = []

    def add(self, context: str, question_id: str = "q", passages: list[dict] | None = None, **passage) -> Pages:
        own = {"start": 0, "document_id": "d", "rank": 1, "score": 0.0, "passage_start": 0} | passage
        example = {"id": question_id, "context": context, "passages": passages or [own]}
        self.examples.append(example)
        return self

    def window(self, start: dict[int, float], end: dict[int, float], first: int = 0, last: int | None = None) -> Pages:
        """Read characters ``first`` to ``last`` of the last example; logits are given by token number.

        Those of ``[CLS]`` are 0 unless given, so that a span score is the sum of its logits.
        """
        context = self.examples[-1]["context"]
        spans = [[i, i + 1] for i in range(first, len(context) if last is None else last)]
        offsets = [None, None, None, *spans, None]
        self.features.append(
            {
                "example_index": len(self.examples) - 1,
                "offset_mapping": offsets,
                "cls_index": CLS,
            }
        )
        self.logits.append((start, end, len(offsets)))
        return self

    def answers(self, **settings) -> dict[str, list[Answer]]:
        width = max(length for *_, length in self.logits)
        start_logits, end_logits = np.full((2, len(self.features), width), LOW, dtype=np.float32)
        for row, (start, end, length) in enumerate(self.logits):
            for logits, given in ((start_logits, start), (end_logits, end)):
                logits[row, CLS], logits[row, length:] = 0.0, -np.inf
                for token, value in given.items():
                    logits[row, token] = value
        examples, features = Dataset.from_list(self.examples), Dataset.from_list(self.features)
        options = {"max_ans_len": 30, "n_best_size": 1000, "postprocess": "none"} | settings
        weight = options.pop("retrieval_weight", 0.0)
        return find_answers(examples, features, (start_logits, end_logits), AnswerArguments(**options), weight)


def softmax(scores: list[float]) -> list[float]:
    powers = np.exp(np.array(scores) - max(scores))
    return (powers / powers.sum()).tolist()


def one_character(start: float, end: float, character: int = 0) -> tuple[dict[int, float], dict[int, float]]:
    """Logits that make one character the best span, of score ``start + end``."""
    return {CONTEXT + character: start}, {CONTEXT + character: end}


# ----------------------------------------------------------------------------------------- text, offsets and windows


@pytest.fixture(params=["bert", "roberta", "xlm-r"])
def tokenizer(request: pytest.FixtureRequest, roberta_tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The third takes line breaks for blanks, as XLM-R does: its tokens then carry them."""
    if request.param != "xlm-r":
        return request.getfixturevalue(f"{request.param}_tokenizer")
    tokenizer = copy.deepcopy(roberta_tokenizer)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("\n", " "), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    return tokenizer


@pytest.fixture
def retrieved(examples: Dataset) -> pd.DataFrame:
    """Every question with three passages, one of them decomposed and one with blanks around it."""
    contexts = list(dict.fromkeys(examples["context"]))
    rows = []
    for number, question in enumerate(examples["question"]):
        for rank in (1, 2, 3):
            context = contexts[(number + rank) % len(contexts)]
            context = {2: unicodedata.normalize("NFD", context), 3: f"  {context}\n"}.get(rank, context)
            document_id = f"d{(number + rank) % len(contexts)}"
            rows.append((f"q{number}", question, rank, document_id, "", context, float(rank)))
    return pd.DataFrame(rows, columns=["id", "question", "rank", "document_id", "title", "context", "score"])


def _random_logits(features: Dataset, seed: int) -> np.ndarray:
    """Random logits (2, features, tokens), -inf after each feature's end."""
    lengths = np.array(list(features["length"]))
    logits = np.random.default_rng(seed).normal(size=(2, len(lengths), lengths.max())).astype(np.float32)
    logits[:, np.arange(lengths.max()) >= lengths[:, None]] = -np.inf
    return logits


@pytest.mark.parametrize("read", [separate_passages, joined_passages])
def test_an_answer_is_the_text_at_its_place_in_one_passage(
    tokenizer: PreTrainedTokenizerFast, retrieved: pd.DataFrame, read
) -> None:
    examples = read(retrieved)
    features = build_features(examples, tokenizer, 56, 8)
    assert len(features) > len(examples)
    settings = AnswerArguments(max_ans_len=40, n_best_size=50, postprocess="none")
    answers = find_answers(examples, features, tuple(_random_logits(features, 0)), settings, 0.3)
    assert list(answers) == list(dict.fromkeys(retrieved["id"]))
    context_at = {(row.id, row.rank): row for row in retrieved.itertuples()}
    ranks = set()
    for question, candidates in answers.items():
        assert 40 < len(candidates) <= 50
        probabilities = [candidate.probability for candidate in candidates]
        assert probabilities == sorted(probabilities, reverse=True) and 0 < sum(probabilities) < 1 + 1e-9
        for candidate in candidates:
            passage = context_at[question, candidate.rank]
            assert 0 <= candidate.start < candidate.end
            assert candidate.text == passage.context[candidate.start : candidate.end]
            assert candidate.text == candidate.text.strip() != ""
            assert (candidate.document_id, candidate.retrieval_score) == (passage.document_id, passage.score)
            ranks.add(candidate.rank)
    assert ranks == {1, 2, 3}


def test_joined_passages_answer_with_any_span_inside_one_passage_and_none_across(
    tokenizer: PreTrainedTokenizerFast, retrieved: pd.DataFrame
) -> None:
    """Peaks on the last token of one passage and on the first of the next."""
    examples = joined_passages(retrieved.head(3).assign(context=["세종은 왕", "장군은 이순신", "한강"]))
    features = build_features(examples, tokenizer, 80, 16)
    offsets = features["offset_mapping"][0]
    logits = np.full((2, 1, len(offsets)), LOW, dtype=np.float32)
    logits[:, 0, CLS] = 0
    begins = [passage["start"] for passage in examples[0]["passages"]]
    for token, span in enumerate(offsets):
        if span is not None and span[1] > begins[1]:
            logits[1, 0, token] = 5  # ends only after the first passage
        if span is not None and (span[1] <= begins[1] or examples[0]["context"][span[1] - 1] == "장"):
            logits[0, 0, token] = 5  # starts only in the first passage, or at the first token of the second
    candidates = find_answers(examples, features, tuple(logits), AnswerArguments(30, 1000, postprocess="none"))["q0"]
    best = [candidate for candidate in candidates if candidate.score == 10]
    second = "장군은 이순신"
    assert {candidate.text for candidate in best} == {second[:end] for end in range(1, 8) if second[end - 1] != " "}
    assert {(candidate.rank, candidate.document_id, candidate.start) for candidate in best} == {(2, "d2", 0)}
    assert not [candidate for candidate in candidates if "\n" in candidate.text]


def test_peaks_outside_the_context_change_nothing(tokenizer: PreTrainedTokenizerFast, examples: Dataset) -> None:
    """What the original's evaluation got wrong: an answer cut out of the context at a question token's offsets."""
    reading_examples = gold_passages(examples)
    features = build_features(examples, tokenizer, 128, 16)
    logits = _random_logits(features, 1)
    settings = AnswerArguments(max_ans_len=200, n_best_size=20)
    without_peaks = find_answers(reading_examples, features, tuple(logits), settings)
    for row, offsets in enumerate(features["offset_mapping"]):
        for token, span in enumerate(offsets):
            if span is None and token != CLS:
                logits[:, row, token] = 100
    assert find_answers(reading_examples, features, tuple(logits), settings) == without_peaks


def test_blanks_at_the_ends_of_a_span_are_left_out() -> None:
    pages = Pages().add("가 나다 ").window({CONTEXT + 1: 5.0}, {CONTEXT + 4: 5.0})
    best = pages.answers()["q"][0]
    assert (best.text, best.start, best.end) == ("나다", 2, 4)
    only_blank = Pages().add("가 나").window({CONTEXT + 1: 5.0}, {CONTEXT + 1: 5.0}).answers()["q"]
    assert "" not in {candidate.text for candidate in only_blank}
    alone = Pages().add("가 나").window({CONTEXT + 1: 5.0}, {CONTEXT + 1: 5.0}).answers(n_best_size=1)
    assert predictions_of(alone) == {"q": ""}


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u200e", "\u00ad", "\x07", "\u3164"])
def test_what_cannot_be_seen_at_the_ends_of_a_span_is_left_out(mark: str) -> None:
    pages = Pages().add(f"가{mark} 나{mark}다 {mark}").window({CONTEXT + 1: 5.0}, {CONTEXT + 7: 5.0})
    best = pages.answers()["q"][0]
    assert (best.text, best.start, best.end) == (f"나{mark}다", 3, 6)
    only_blank = Pages().add(f"가{mark}나").window({CONTEXT + 1: 5.0}, {CONTEXT + 1: 5.0}).answers()["q"]
    assert mark not in {candidate.text for candidate in only_blank}


def test_a_span_that_two_windows_hold_counts_once_with_the_better_score() -> None:
    pages = Pages().add("가나다라")
    pages.window({CONTEXT + 1: 2.0}, {CONTEXT + 1: 1.0}, last=3)  # 나 at 3
    pages.window({CONTEXT: 4.0}, {CONTEXT: 3.0}, first=1)  # 나 at 7
    candidates = pages.answers()["q"]
    assert [candidate.text for candidate in candidates].count("나") == 1
    best = candidates[0]
    assert (best.text, best.start, best.end, best.score) == ("나", 1, 2, 7.0)
    once = Pages().add("가나다라").window({CONTEXT + 1: 4.0}, {CONTEXT + 1: 3.0}).answers()["q"][0]
    assert best.probability == pytest.approx(once.probability, abs=1e-6)


def test_max_ans_len_counts_tokens() -> None:
    pages = Pages().add("가나다라").window({CONTEXT: 5.0}, {CONTEXT + 3: 5.0})
    assert pages.answers(max_ans_len=4)["q"][0].text == "가나다라"
    assert max(len(candidate.text) for candidate in pages.answers(max_ans_len=3)["q"]) == 3


# ----------------------------------------------------------------------------------------------------- probabilities


def test_probabilities_are_the_softmax_with_equal_texts_summed() -> None:
    pages = Pages().add("가나가").window({3: 1.0, 4: 0.5, 5: 2.0}, {3: 1.0, 4: 0.25, 5: 3.0})
    candidates = pages.answers(max_ans_len=1)["q"]
    first, middle, last = softmax([2.0, 0.75, 5.0])
    assert [candidate.text for candidate in candidates] == ["가", "나"]
    assert candidates[0].probability == pytest.approx(first + last)
    assert candidates[1].probability == pytest.approx(middle)
    assert sum(candidate.probability for candidate in candidates) == pytest.approx(1)
    # it stands where its better occurrence is
    assert (candidates[0].start, candidates[0].end, candidates[0].score) == (2, 3, 5.0)


def test_two_weaker_places_can_outweigh_a_stronger_one() -> None:
    pages = Pages().add("가나가").window({3: 1.0, 4: 1.2, 5: 1.0}, {3: 1.0, 4: 1.2, 5: 1.0})
    assert predictions_of(pages.answers(max_ans_len=1)) == {"q": "가"}


def test_equal_texts_of_two_passages_are_one_answer_at_the_better_rank() -> None:
    pages = Pages().add("가", rank=1, document_id="x").window(*one_character(1, 1))
    pages.add("가", rank=2, document_id="y").window(*one_character(2, 2))
    (answer,) = pages.answers()["q"]
    assert (answer.text, answer.document_id, answer.rank, answer.score) == ("가", "y", 2, 4.0)
    assert answer.probability == pytest.approx(1)


def test_n_best_size_is_the_most_that_is_returned_and_not_more_than_there_are() -> None:
    pages = Pages().add("가나다라마바사").window({3: 3.0, 4: 2.0}, {3: 1.0, 4: 1.0})
    assert [len(pages.answers(n_best_size=n)["q"]) for n in (1, 5, 1000)] == [1, 5, 28]
    assert pages.answers(n_best_size=3)["q"][0].text == pages.answers(n_best_size=1)["q"][0].text


def test_equal_scores_go_to_the_first_rank_and_place() -> None:
    pages = Pages().add("나", rank=2, document_id="y").window(*one_character(1, 1))
    pages.add("다가", rank=1, document_id="x").window({3: 1.0, 4: 1.0}, {3: 1.0, 4: 1.0})
    assert [candidate.text for candidate in pages.answers(max_ans_len=1)["q"]] == ["다", "가", "나"]


# --------------------------------------------------------------------------------------------------------- retrieval


def _three_passages(scores: tuple[float, float, float] = (1.0, 2.0, 6.0)) -> Pages:
    """Best span scores 9, 6 and 3 (and 0 for a second span of the first), the retriever's the other way round."""
    pages = Pages().add("가나", rank=1, document_id="x", score=scores[0]).window({3: 5.0, 4: 0.0}, {3: 4.0, 4: 0.0})
    pages.add("다", rank=2, document_id="y", score=scores[1]).window(*one_character(3, 3))
    pages.add("라", rank=3, document_id="z", score=scores[2]).window(*one_character(2, 1))
    return pages


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 5.0])
def test_retrieval_is_mixed_in_as_the_formula_says(weight: float) -> None:
    retrieval = np.array([1.0, 2.0, 6.0])
    standardised = (retrieval - retrieval.mean()) / retrieval.std()
    spans = {"가": (9, 0), "나": (0, 0), "다": (6, 1), "라": (3, 2)}
    expected = {text: span + weight * standardised[rank] for text, (span, rank) in spans.items()}
    candidates = _three_passages().answers(retrieval_weight=weight, max_ans_len=1)["q"]
    assert {candidate.text: candidate.score for candidate in candidates} == pytest.approx(expected)
    assert {c.text: c.span_score for c in candidates} == {text: span for text, (span, _) in spans.items()}
    by_text = dict(zip(expected, softmax(list(expected.values())), strict=True))
    assert {candidate.text: candidate.probability for candidate in candidates} == pytest.approx(by_text)
    assert candidates[0].text == max(expected, key=expected.get)


def test_no_weight_leaves_all_to_the_reader_and_a_large_one_to_the_retriever() -> None:
    reader = [c.text for c in _three_passages().answers(retrieval_weight=0.0, max_ans_len=1)["q"]]
    retriever = [c.text for c in _three_passages().answers(retrieval_weight=100.0, max_ans_len=1)["q"]]
    assert reader == ["가", "다", "라", "나"]
    assert retriever == ["라", "다", "가", "나"]  # inside a passage the reader still decides


def test_a_span_counts_by_what_it_exceeds_its_own_passage_s_no_answer_by() -> None:
    """The larger logits are in a passage whose [CLS] is larger still."""
    pages = Pages().add("가", rank=1).window({3: 5.0, CLS: 6.0}, {3: 5.0, CLS: 6.0})
    pages.add("나", rank=2).window({3: 2.0, CLS: 1.0}, {3: 2.0, CLS: 0.5})
    assert {c.text: c.span_score for c in pages.answers()["q"]} == {"가": -2.0, "나": 2.5}
    assert predictions_of(pages.answers()) == {"q": "나"}


def test_with_shared_normalization_spans_count_by_their_logits_above_the_highest_no_answer() -> None:
    pages = Pages().add("가", rank=1).window({3: 5.0, CLS: 6.0}, {3: 5.0, CLS: 6.0})
    pages.add("나다", rank=2).window({3: 2.0, CLS: 1.0}, {3: 2.0, CLS: 0.5}, 0, 1)
    pages.window({3: 4.0, CLS: 2.0}, {3: 3.0, CLS: 1.0}, 1, 2)
    shared = {"shared_normalization": True, "version_2_with_negative": True}
    assert {c.text: c.span_score for c in pages.answers(**shared)["q"]} == {"가": -2, "나": -8, "다": -5, "": 0}
    assert predictions_of(pages.answers(**shared)) == {"q": ""}
    assert predictions_of(pages.answers(**shared, null_score_diff_threshold=2.0)) == {"q": "가"}


def test_retrieval_scores_on_any_scale_and_shift_mean_the_same() -> None:
    plain = _three_passages().answers(retrieval_weight=0.4)
    scaled = _three_passages((0.01, 0.02, 0.06)).answers(retrieval_weight=0.4)
    shifted = _three_passages((-99.0, -98.0, -94.0)).answers(retrieval_weight=0.4)
    for other in (scaled, shifted):
        assert [c.text for c in other["q"]] == [c.text for c in plain["q"]]
        assert [c.score for c in other["q"]] == pytest.approx([c.score for c in plain["q"]], abs=1e-4)


def test_a_retriever_without_preference_counts_every_passage_the_same() -> None:
    indifferent = _three_passages((7.0, 7.0, 7.0)).answers(retrieval_weight=0.5, max_ans_len=1)["q"]
    assert {candidate.text: candidate.score for candidate in indifferent} == {"가": 9, "나": 0, "다": 6, "라": 3}


def test_a_single_passage_leaves_the_weight_nothing_to_do() -> None:
    alone = Pages().add("가나", score=7.0).window({3: 3.0, 4: 1.0}, {3: 3.0, 4: 1.0})
    assert [candidate.score for candidate in alone.answers(retrieval_weight=0.5, max_ans_len=1)["q"]] == [6, 2]


# --------------------------------------------------------------------------------------------------------- no answer


def _with_null(null: float) -> Pages:
    start, end = one_character(2, 2)
    return Pages().add("가").window(start | {CLS: null / 2}, end | {CLS: null / 2})


@pytest.mark.parametrize("n_best_size", [1, 2, 20])
@pytest.mark.parametrize(
    ("null", "threshold", "prediction"),
    [(5.0, 0.0, ""), (3.0, 0.0, "가"), (5.0, 2.0, "가"), (7.0, 2.0, ""), (3.0, -2.0, ""), (4.0, 0.0, "가")],
)
def test_no_answer_wins_by_more_than_the_threshold(
    null: float, threshold: float, prediction: str, n_best_size: int
) -> None:
    settings = {"version_2_with_negative": True, "null_score_diff_threshold": threshold, "n_best_size": n_best_size}
    answers = _with_null(null).answers(**settings)
    assert predictions_of(answers) == {"q": prediction}
    assert len(answers["q"]) == min(n_best_size, 2)
    if n_best_size > 1:
        probabilities = {candidate.text: candidate.probability for candidate in answers["q"]}
        assert probabilities == pytest.approx(dict(zip(["가", ""], softmax([4.0, null]), strict=True)))


def test_without_version_2_there_is_always_an_answer() -> None:
    assert [candidate.text for candidate in _with_null(50.0).answers()["q"]] == ["가"]


def test_no_answer_needs_every_window_and_passage_to_say_so() -> None:
    """A passage says so with the least of its windows: one of them may well hold the answer."""
    nulls = {"version_2_with_negative": True}
    pages = Pages().add("가나", rank=1).window({3: 2.0, CLS: 8.0}, {3: 2.0, CLS: 8.0}, last=1)
    assert predictions_of(pages.answers(**nulls)) == {"q": ""}
    pages.window({3: 0.0, CLS: 1.0}, {3: 0.0, CLS: 2.0}, first=1)
    assert {c.text: c.score for c in pages.answers(**nulls)["q"]}["가"] == 4.0 - 3.0
    assert predictions_of(pages.answers(**nulls)) == {"q": "가"}
    says_none = Pages().add("가", rank=1).window({3: 2.0, CLS: 3.0}, {3: 2.0, CLS: 3.0})
    assert predictions_of(says_none.answers(**nulls)) == {"q": ""}
    says_none.add("다", rank=2).window({3: 1.0, CLS: 0.5}, {3: 1.0, CLS: 0.5})
    assert predictions_of(says_none.answers(**nulls)) == {"q": "다"}


def test_a_context_without_text_has_no_answer() -> None:
    pages = Pages().add("").window({CLS: 1.0, QUESTION: 9.0}, {CLS: 1.0, QUESTION: 9.0})
    assert pages.answers() == {"q": []}
    assert predictions_of(pages.answers()) == {"q": ""}
    (none,) = pages.answers(version_2_with_negative=True)["q"]
    assert (none.text, none.probability, none.score) == ("", 1.0, 0.0)


# ------------------------------------------------------------------------------------------------------------ output


def test_questions_keep_their_order_and_nbest_is_plain_json() -> None:
    pages = Pages().add("가", "z").window(*one_character(1, 1))
    pages.add("나", "a", document_id="7", score=0.5).window(*one_character(2, 2))
    pages.add("다", "z", rank=2).window(*one_character(0, 0))
    answers = pages.answers()
    assert list(predictions_of(answers).items()) == [("z", "가"), ("a", "나")]
    assert json.loads(json.dumps(nbest_of(answers)))["a"] == [
        {
            "text": "나",
            "probability": 1.0,
            "score": 4.0,
            "span_score": 4.0,
            "retrieval_score": 0.5,
            "document_id": "7",
            "rank": 1,
            "start": 0,
            "end": 1,
            "passage_start": 0,
        }
    ]

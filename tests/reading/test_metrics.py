from __future__ import annotations

import json
import random
import string
import unicodedata

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import EvalPrediction

from reading.metrics import (
    METRICS,
    compute_metrics,
    klue_rouge_w,
    korquad_f1,
    mean_scores,
    normalize_korean,
    normalize_squad,
    references_of,
    score_examples,
    squad_f1,
)
from runtime.errors import UserError

# --- normalisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "책",
        "《책》",
        "〈책〉",
        "<책>",
        "(책)",
        "‘책’",
        "'책'",
        '"책"',
        "책.",
        " 책\n",
        "[책]",
        "책!?",
        "《‘책’》(",
        "{책}",
    ],
)
def test_brackets_quotes_and_punctuation_around_an_answer_vanish(text):
    assert normalize_korean(text) == "책"


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("KBS 2TV", "kbs 2tv"),
        ("세종(世宗)대왕", "세종 世宗 대왕"),  # brackets part words
        ("《훈민정음》해례본", "훈민정음 해례본"),
        ("60'년대", "60 년대"),  # an apostrophe parts words
        ("60‘년대", "60 년대"),
        ('60"년대', "60 년대"),
        ("1,000.5-년", "10005년"),  # other punctuation disappears
        ("3 . 1 운동", "3 1 운동"),
        ("3·1 운동", "3·1 운동"),  # the middle dot is not ASCII
        ("「책」『책』“책”", "「책」『책』“책”"),  # nor among the listed brackets
        ("a the 고양이", "a the 고양이"),  # no articles in Korean
        ("가\t나\u00a0다\u3000라\n", "가 나 다 라"),
        ("'.!()", ""),
        ("", ""),
    ],
)
def test_normalize_korean(text, normalized):
    assert normalize_korean(text) == normalized


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Cat, an Owl and a Dog.", "cat owl and dog"),
        ("Amy's", "amys"),  # an apostrophe is deleted, not blanked
        ("세종(世宗)대왕", "세종世宗대왕"),
        ("《책》", "《책》"),
        ("theory an-other a고양이", "theory another a고양이"),  # only whole words are articles
        ("‘The’책", "‘ ’책"),
        ("a", ""),
    ],
)
def test_normalize_squad(text, normalized):
    assert normalize_squad(text) == normalized


# --- the three definitions, by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "gold", "f1"),
    [
        ("세종대왕", "세종대왕", 1),
        ("세종 대왕", "세종대왕", 1),  # white space does not count
        ("대왕 세종", "세종대왕", 1),  # nor does order
        ("《세종》", "세종대왕", 2 * 1 * (2 / 4) / (1 + 2 / 4)),
        ("세종대왕이", "세종대왕", 2 * (4 / 5) * 1 / (4 / 5 + 1)),
        ("가가가", "가나가", 2 / 3),  # 가 twice in common: precision and recall 2/3
        ("가", "가가가가", 2 * 1 * (1 / 4) / (1 + 1 / 4)),
        ("KBS", "kbs", 1),
        ("세종", "고려", 0),
        ("", "세종", 0),
        ("?!", "세종", 0),
        ("?!", "()", 0),  # the official script: nothing in common is 0
        ("", "", 1),  # unanswerable
        ("?!", "", 1),
        ("세종", "", 0),
    ],
)
def test_korquad_f1(prediction, gold, f1):
    assert korquad_f1(prediction, gold) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "gold", "f1"),
    [
        ("조선의 네 번째 임금", "네 번째 임금", 2 * (3 / 4) * 1 / (3 / 4 + 1)),
        ("임금 네", "네 번째 임금", 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("임금이", "임금", 0),  # words, not characters
        ("the cat", "A cat", 1),
        ("cat cat", "cat dog", 1 / 2),
        ("", "", 1),
        ("the", "", 1),
        ("cat", "", 0),
        ("", "cat", 0),
    ],
)
def test_squad_f1(prediction, gold, f1):
    assert squad_f1(prediction, gold) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "gold", "rouge_w"),
    [
        ("세종대왕", "세종대왕", 1),
        ("세종 대왕", "세종대왕", 2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4)),  # the space breaks the run and counts
        ("대왕 세종", "세종대왕", 2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4)),  # so does order
        ("《세종》", "세종대왕", 2 * 1 * (2 / 4) / (1 + 2 / 4)),
        ("가나라다", "가나다라", 1 / 2),  # 가나 is consecutive, 가나다 is not
        ("세종", "고려", 0),
        ("", "세종", 0),
        ("", "", 1),
        ("!", "", 1),
        ("세종", "", 0),
    ],
)
def test_klue_rouge_w(prediction, gold, rouge_w):
    assert klue_rouge_w(prediction, gold) == pytest.approx(rouge_w)


@pytest.mark.parametrize(
    ("metric", "prediction", "gold", "exact_match"),
    [
        ("korquad", "〈춘향전〉", "춘향전", 1),
        ("korquad", "춘향 전", "춘향전", 0),  # spaces count in exact match
        ("korquad", "O'Neil", "ONeil", 0),
        ("korquad", "O'Neil", "o neil", 1),
        ("squad", "O'Neil", "ONeil", 1),
        ("squad", "The cat", "cat", 1),
        ("squad", "〈춘향전〉", "춘향전", 0),
        ("klue", "‘춘향전’", "춘향전", 1),
        ("klue", "The cat", "cat", 0),
        ("klue", "", "", 1),
        ("korquad", "춘향전", "", 0),
    ],
)
def test_exact_match(metric, prediction, gold, exact_match):
    assert METRICS[metric].exact_match(prediction, gold) == exact_match


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u200e", "\u00ad", "\x00", "\x9f", "\u3164"])
def test_invisible_characters_do_not_count(metric: str, mark: str) -> None:
    for gold in (f"{mark}춘향전", f"춘향전{mark}", f"{mark} 춘향전 {mark}"):
        for prediction, other in (("춘향전", gold), (gold, "춘향전")):
            assert METRICS[metric].exact_match(prediction, other) == METRICS[metric].overlap(prediction, other) == 1
    two_words = METRICS[metric]
    assert two_words.exact_match(f"춘향{mark} 전", "춘향 전") == two_words.overlap(f"춘향{mark} 전", "춘향 전") == 1
    assert METRICS[metric].exact_match(mark, "") == METRICS[metric].overlap(mark, "") == 1


# --- independent oracles --------------------------------------------------------------------------------------------


def _official_korquad(prediction, gold):
    """The published definition, one character at a time: (exact match, F1)."""

    def normal_words(text):
        kept = ""
        for character in text:
            if character in ["'", '"', "《", "》", "<", ">", "〈", "〉", "(", ")", "‘", "’"]:
                kept += " "
            elif character not in "!#$%&*+,-./:;=?@[\\]^_`{|}~":
                kept += character
        return kept.lower().split()

    predicted, expected = normal_words(prediction), normal_words(gold)
    rest, characters = list("".join(expected)), "".join(predicted)
    for character in characters:
        if character in rest:
            rest.remove(character)
    same = len("".join(expected)) - len(rest)
    if same == 0:
        return predicted == expected, 0.0
    precision, recall = same / len(characters), same / len("".join(expected))
    return predicted == expected, 2 * precision * recall / (precision + recall)


def test_korquad_equals_an_independent_transcription_of_the_official_script():
    generator = random.Random(0)
    alphabet = "가나다라ABab 'a\"《》<>〈〉()‘’\t" + string.punctuation
    scores = []
    for _ in range(3000):
        prediction, gold = ("".join(generator.choices(alphabet, k=generator.randint(1, 12))) for _ in range(2))
        if generator.random() < 0.3:
            gold = "《" + prediction.swapcase() + "》"
        exact_match, f1 = _official_korquad(prediction, gold)
        assert METRICS["korquad"].exact_match(prediction, gold) == exact_match, (prediction, gold)
        assert korquad_f1(prediction, gold) == pytest.approx(f1), (prediction, gold)
        scores.append((exact_match, f1))
    assert any(e for e, _ in scores) and any(0 < f < 1 for _, f in scores) and any(f == 0 for _, f in scores)


def _every_substring(text):
    return {text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1)} | {""}


def test_rouge_w_equals_a_brute_force_substring_search():
    generator = random.Random(0)
    for _ in range(2000):
        prediction = "".join(generator.choices("가나 다", k=generator.randint(0, 12)))
        gold = "".join(generator.choices("가나 다", k=generator.randint(1, 12))) + "라"
        first, second = " ".join(prediction.split()), " ".join(gold.split())
        run = max(map(len, _every_substring(first) & _every_substring(second)))
        precision, recall = run / max(len(first), 1), run / len(second)
        expected = 2 * precision * recall / (precision + recall) if run else 0
        assert klue_rouge_w(prediction, gold) == pytest.approx(expected), (prediction, gold)


def test_rouge_w_of_long_texts_sees_frequent_characters_too():
    # difflib leaves out characters that make up more than 1 % of a text of 200 or longer.
    prediction, gold = "가" * 500 + "나" * 500, "나" * 500 + "가" * 400
    assert klue_rouge_w(prediction, gold) == pytest.approx(2 * 500 / 1900)


# --- over many examples ---------------------------------------------------------------------------------------------


def test_the_best_of_several_gold_answers_counts_and_order_is_the_references():
    references = {"q2": ["이순신 장군", "이순신", "충무공"], "q1": ["고려"], "q3": ["1443년"]}
    predictions = {"q1": "조선", "q2": "《이순신》", "q3": "1443"}
    scores = score_examples(predictions, references, "korquad")
    np.testing.assert_allclose(scores.exact_match, [1, 0, 0])
    np.testing.assert_allclose(scores.overlap, [1, 0, 2 * 1 * 0.8 / 1.8])
    predictions["q2"] = "순신"  # exact match with none; the overlap takes the shortest gold answer
    np.testing.assert_allclose(
        score_examples(predictions, references, "klue").overlap[0], 2 * 1 * (2 / 3) / (1 + 2 / 3)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_unanswerable_questions_want_an_empty_prediction(metric):
    references = {"empty": [], "wrong": [], "blank gold": [""], "shy": ["답"], "missing": []}
    predictions = {"empty": "", "wrong": "답", "blank gold": "", "shy": ""}
    scores = score_examples(predictions, references, metric)
    assert scores.exact_match.tolist() == [1, 0, 1, 0, 0]
    assert scores.overlap.tolist() == [1, 0, 1, 0, 0]


def test_missing_predictions_score_zero_and_unknown_ones_do_not_count():
    scores = score_examples({"a": "답", "stranger": "답"}, {"a": ["답"], "b": ["답"]}, "squad")
    assert scores.exact_match.tolist() == scores.overlap.tolist() == [1, 0]


def test_mean_scores_in_percent():
    references = {"a": ["세종 대왕"], "b": ["the cat"], "c": [], "d": ["훈민정음"]}
    predictions = {"a": "세종대왕", "b": "cat", "c": ""}
    expected = {
        "exact_match": 25,
        "f1": 100 * (1 + 2 * 3 / (3 + 6) + 1 + 0) / 4,
        "squad_exact_match": 50,
        "squad_f1": 50,
        "klue_exact_match": 25,
        "klue_rouge_w": 100 * (2 * 2 / (4 + 5) + 2 * 3 / (3 + 7) + 1 + 0) / 4,
    }
    figures = mean_scores(predictions, references)
    assert figures == pytest.approx(expected)
    assert list(figures) == list(expected)
    assert json.loads(json.dumps(figures)) == figures


def test_compute_metrics_takes_what_a_trainer_hands_on():
    found = [{"id": "a", "prediction_text": "세종"}, {"id": "b", "prediction_text": "", "no_answer_probability": 0.9}]
    gold = [
        {"id": "b", "answers": {"text": [], "answer_start": []}},
        {"id": "a", "answers": {"text": ["왕", "세종"], "answer_start": [3, 0]}},
        {"id": "c", "answers": {"text": ["한강"], "answer_start": [0]}},
    ]
    expected = mean_scores({"a": "세종", "b": ""}, {"a": ["왕", "세종"], "b": [], "c": ["한강"]})
    assert compute_metrics(EvalPrediction(predictions=found, label_ids=gold)) == expected


def test_nothing_to_score_is_refused():
    with pytest.raises(UserError, match=r"^there are no questions to score$"):
        mean_scores({"a": "답"}, {})


def test_references_of():
    examples = Dataset.from_dict(
        {
            "id": ["q2", "q1"],
            "context": ["가나 가나", "다"],
            "answers": [{"text": ["가나", "가"], "answer_start": [0, 3]}, {"text": [], "answer_start": []}],
        }
    )
    assert list(references_of(examples).items()) == [("q2", ["가나", "가"]), ("q1", [])]


@pytest.mark.parametrize("metric", list(METRICS))
def test_decomposed_hangul_is_the_same_answer(metric: str) -> None:
    decomposed = unicodedata.normalize("NFD", "훈민정음")
    assert METRICS[metric].exact_match(decomposed, "훈민정음") == 1
    assert METRICS[metric].overlap(decomposed, "훈민정음") == 1


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(one=st.text(), other=st.text())
@example(one="\u1112\u1161\u11ab강", other="한강")
def test_any_two_texts_score_alike_either_way_and_a_text_matches_itself(name: str, one: str, other: str) -> None:
    metric = METRICS[name]
    score, exact = metric.overlap(one, other), metric.exact_match(one, other)
    assert 0 <= score <= 1 and exact in (0, 1)
    if metric.normalize(one) and metric.normalize(other):
        assert score == metric.overlap(other, one)
        assert score == 1 or not exact
        assert metric.overlap(one, f" \u200b{one}\n") == metric.exact_match(f"{one} .", one) == 1

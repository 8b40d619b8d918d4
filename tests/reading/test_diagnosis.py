"""Where answers are found, how they differ from the gold answers, and what lost them: against brute force."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from sklearn.calibration import calibration_curve

from reading.diagnosis import (
    KINDS,
    STAGES,
    Passage,
    Place,
    calibration,
    calibration_error,
    diagnose,
    differ_by_particles,
    gold_spans,
    kind_of,
    locate,
    question_groups,
    sentences_at,
    stage_of,
    waterfall,
)
from reading.voting import Candidate

CONTEXT = "훈민정음은 세종대왕이 1443년에 창제하였다. 스물여덟 자로 이루어졌다! 집현전의 학자들이 도왔다."
OTHER = "세종대왕은 조선의 제4대 국왕이다. 한양에서 태어났다."


def example(*golds: str, context: str = CONTEXT) -> dict[str, Any]:
    starts = [context.index(gold) for gold in golds]
    return {"context": context, "answers": {"text": list(golds), "answer_start": starts}}


def place(text: str, prediction: str, asked: dict[str, Any]) -> Place:
    start = text.index(prediction)
    return Place(Passage("d", "", text, 1), start, start + len(prediction), gold_spans(text, asked))


def candidate(text: str, start: int, document_id: str = "d") -> Candidate:
    return Candidate(text, text, 0.5, (document_id, start, start + len(text)))


# -------------------------------------------------------------------------------------------------------------- places


def test_gold_answers_are_where_they_were_annotated_and_elsewhere_wherever_they_occur() -> None:
    text = "1443년, 1443년, 1443년"
    asked = {"context": text, "answers": {"text": ["1443년"], "answer_start": [7]}}
    assert gold_spans(text, asked) == [(7, 12)]
    assert gold_spans(f"{text}.", asked) == [(0, 5), (7, 12), (14, 19)]
    assert gold_spans("없음", asked) == []


def test_an_answer_is_located_by_the_best_candidate_with_its_text() -> None:
    passages = [Passage("a", "", "가나다가나다", 1), Passage("b", "", "다가나다", 2)]
    asked = example("나", context="가나다가나다")
    found = locate(
        "나다", [candidate("나", 1, "a"), candidate("나다", 2, "b"), candidate("나다", 1, "a")], passages, asked
    )
    assert found == Place(passages[1], 2, 4, [(2, 3)])
    # a candidate that is not what stands there, or nowhere, and predictions without candidates
    for candidates in ([candidate("나다", 0, "a")], [candidate("나다", 1, "x")], []):
        assert locate("나다", candidates, passages, asked) == Place(passages[0], 1, 3, [(1, 2)])
    # of chunks, a candidate's place is in the document, whose first chunk does not hold it
    chunks = [Passage("a", "", "나다가", 1), Passage("a", "", "라나다", 2, start=3), Passage("a", "", "다", 3, start=5)]
    assert locate("나다", [candidate("나다", 4, "a")], chunks, asked) == Place(chunks[1], 1, 3, [(1, 2)])
    assert locate("나다", [candidate("나다", 2, "a")], chunks, asked) == Place(chunks[0], 0, 2, [(0, 1)])
    assert locate("라", [], passages, asked) is None
    assert locate(" ", [], passages, asked) is None


@pytest.mark.parametrize("seed", range(5))
def test_sentences_are_what_splitting_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("가나. \n!?3"), 60)).strip()
    starts = [0, *(found.end() for found in re.finditer(r"(?<=[.!?])\s+|\s*\n\s*", text))]
    sentence_of = [sum(start <= index for start in starts) for index in range(len(text))]
    for _ in range(50):
        start, end = sorted(rng.choice(len(text) + 1, 2, replace=False))
        if text[start:end].strip() == text[start:end] != "":
            first, last = sentences_at(text, start, end)
            touched = set(sentence_of[start:end])
            assert touched == {sentence_of[i] for i in range(first, last) if not text[i].isspace()}
            assert (first, last) == (first, first + len(text[first:last].strip()))


def test_a_full_stop_in_a_number_and_quotes_after_one_part_no_sentence() -> None:
    text = '그는 "3.5점이다." 라고 했다. (끝.) 다음'
    assert text[slice(*sentences_at(text, 0, 2))] == '그는 "3.5점이다."'
    assert text[slice(*sentences_at(text, len(text) - 1, len(text)))] == "다음"


# --------------------------------------------------------------------------------------------------- kinds and stages


@pytest.mark.parametrize(
    ("text", "prediction", "golds", "kind", "stage"),
    [
        (CONTEXT, "1443년", ["1443년"], "exact", None),
        (CONTEXT, "1443년에", ["1443년"], "particle only", "boundary"),
        (CONTEXT, "세종대왕", ["세종대왕이"], "particle only", "boundary"),
        (CONTEXT, "세종대왕이 1443년", ["1443년"], "too long", "boundary"),
        (CONTEXT, "1443", ["1443년"], "too short", "boundary"),
        (CONTEXT, "세종대왕이 1443", ["1443년"], "same sentence", "boundary"),  # they overlap
        (CONTEXT, "훈민정음", ["1443년"], "same sentence", "boundary"),
        (CONTEXT, "집현전", ["1443년"], "elsewhere", "sentence"),
        (OTHER, "한양", ["세종대왕"], "elsewhere", "sentence"),  # this passage, too, has a gold answer
        (OTHER, "한양", ["1443년"], "elsewhere", "passage"),
        (OTHER, "조선", ["1443년", "집현전"], "elsewhere", "passage"),
        (CONTEXT, "집현전", [], "no answer", "no answer"),
        (CONTEXT, "", ["1443년"], "no answer", "no answer"),
    ],
)
def test_kinds_and_stages(text: str, prediction: str, golds: list[str], kind: str, stage: str | None) -> None:
    asked = example(*golds)
    start = text.index(prediction)
    candidates = [candidate(prediction, start)] if prediction else []
    right = prediction in golds
    found = diagnose(asked, prediction, candidates, [Passage("d", "", text, 1)], right, True)
    assert (found.kind, found.stage) == (kind, stage)
    assert found.probability == (0.5 if prediction else None)
    missed = diagnose(asked, prediction, candidates, [Passage("d", "", text, 1)], right, False)
    assert missed.stage == ("retrieval" if golds and not right else stage)


def test_an_answer_that_is_nowhere_is_elsewhere() -> None:
    found = diagnose(example("1443년"), "1910년", [], [Passage("d", "", CONTEXT, 1)], False, True)
    assert (found.kind, found.stage, found.place, found.probability) == ("elsewhere", "passage", None, None)


@pytest.mark.parametrize("seed", range(4))
def test_kinds_and_stages_equal_sets_of_characters(seed: int) -> None:
    """Of words that no particle ends, in random places."""
    rng = np.random.default_rng(seed)
    sentences = [" ".join(rng.permutation(list("ABCDEFGHKLMNPQRSTVWXYZ"))[:6]) for _ in range(4)]
    text = ". ".join(sentences) + "."
    sentence = np.repeat(np.arange(4), [len(one) + 2 for one in sentences])[: len(text)]
    letters = [index for index, letter in enumerate(text) if letter.isalpha()]
    seen = set()
    for _ in range(300):
        spans = []
        for _ in range(2):
            first = int(rng.integers(len(letters) - 3))
            spans.append((letters[first], letters[first + int(rng.integers(3))] + 1))
        gold, answer = (set(range(*span)) for span in spans)
        texts = [text[slice(*span)] for span in spans]
        asked = {"context": text, "answers": {"text": texts[:1], "answer_start": [spans[0][0]]}}
        if texts[0] == texts[1] or "." in "".join(texts):
            continue
        kind = kind_of(texts[1], texts[:1], False, Place(Passage("d", "", text, 1), *spans[1], gold_spans(text, asked)))
        if gold < answer:
            expected = "too long"
        elif answer < gold:
            expected = "too short"
        else:
            together = sentence[min(gold)] == sentence[min(answer)]
            expected = "same sentence" if together else "elsewhere"
        assert kind == expected, (text, texts)
        seen.add(kind)
    assert seen == {"too long", "too short", "same sentence", "elsewhere"}


def test_the_kinds_and_stages_that_are_described_are_those_that_there_are() -> None:
    assert set(KINDS) == {
        "exact", "particle only", "too long", "too short", "same sentence", "elsewhere", "no answer"
    }  # fmt: skip
    nowhere = Place(Passage("d", "", OTHER, 1), 0, 1, [])
    stages = {stage_of("elsewhere", "답", True, False, None), stage_of("elsewhere", "답", True, True, nowhere)}
    stages |= {stage_of("elsewhere", "답", True, True, place(CONTEXT, "집현전", example("1443년")))}
    assert stages | {stage_of("too long", "답", True, True, None), stage_of("no answer", "", True, True, None)} == set(
        STAGES
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_waterfall_adds_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stages = [[None, *STAGES][index] for index in rng.integers(len(STAGES) + 1, size=37)]
    rows, right = waterfall(stages), stages.count(None)
    assert [name for name, _, _ in rows] == list(STAGES)
    for name, lost, ceiling in rows:
        assert lost == pytest.approx(100 * stages.count(name) / 37)
        right += stages.count(name)
        assert ceiling == pytest.approx(100 * right / 37)
    assert rows[-1][2] == pytest.approx(100)


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        ("서울", "서울에서", True),
        ("1443년에", "1443년", True),
        ("세종대왕", "세종대왕의", True),
        ("고구려", "고구려였다", True),
        ("27단", "27단으로", True),
        ("경기", "경기도", False),
        ("제주", "제주도", False),
        ("1", "1만", False),
        ("3", "3도", False),
        ("김정", "김정은", False),
        ("3년", "3년간", False),
        ("서울", "서울", False),
        ("서울", "부산에서", False),
        ("", "에서", False),
    ],
)
def test_particles_are_told_from_the_ends_of_names(first: str, second: str, differ: bool) -> None:
    assert differ_by_particles(first, second) is differ
    assert differ_by_particles(second, first) is differ


# -------------------------------------------------------------------------------------------------------------- groups


def test_groups_part_the_questions_that_they_are_about() -> None:
    rows = [
        {"id": "q1", "question": "누구?", **example("세종대왕", "훈민정음")},
        {"id": "q2", "question": "언제?", **example("1443년")},
        {"id": "q3", "question": "누가?", **example("집현전의 학자들이")},
        {"id": "q4", "question": "이름은?", **example()},
    ]
    ranks = {"q1": (1.0, 1.0), "q2": (7.0, 2.0), "q3": (np.nan, 3.0)}
    groups = question_groups(Dataset.from_list(rows), ranks)
    members = {
        title: {name: [rows[index]["id"] for index in np.flatnonzero(group)] for name, group in parts.items()}
        for title, parts in groups.items()
    }
    assert members == {
        "question word": {"누구": ["q1", "q3"], "언제": ["q2"], "other": ["q4"]},
        "answer length (characters)": {"3–4": ["q1"], "5–8": ["q2"], "9–16": ["q3"]},
        "place of the answer in its passage": {"first third": ["q1", "q2"], "last third": ["q3"]},
        "rank of the gold passage": {"1": ["q1"], "6–10": ["q2"], "not retrieved": ["q3", "q4"]},
    }
    assert "rank of the gold passage" not in question_groups(Dataset.from_list(rows), None)


# --------------------------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("bins", [5, 10])
def test_calibration_equals_that_of_scikit_learn(bins: int) -> None:
    rng = np.random.default_rng(0)
    probabilities = np.concatenate([rng.random(200), [0.0, 1.0, 0.6, 0.2]])
    right = (rng.random(204) < probabilities**2).astype(float)
    found = calibration(probabilities, right, bins)
    accuracy, confidence = calibration_curve(right, probabilities, n_bins=bins)
    filled = [one for one in found if one.answers]
    assert [one.accuracy for one in filled] == pytest.approx(100 * accuracy)
    assert [one.confidence for one in filled] == pytest.approx(100 * confidence)
    assert sum(one.answers for one in found) == 204
    assert calibration_error(found) == pytest.approx(
        sum(one.answers / 204 * abs(a - c) * 100 for one, a, c in zip(filled, accuracy, confidence, strict=True))
    )


def test_an_empty_bin_counts_nothing() -> None:
    found = calibration([0.05, 0.05], [1, 0], 10)
    assert found[0][2:] == (2, pytest.approx(5), 50) and all(one[2:] == (0, 0, 0) for one in found[1:])
    assert calibration_error(found) == pytest.approx(45)

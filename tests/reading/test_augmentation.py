"""Augmentations on examples written out."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from typing import Any

import pytest
from one_example import CONTEXT, RETRIEVED, example
from transformers import PreTrainedTokenizerFast

from reading.augmentation import (
    AUGMENTATIONS,
    MASKED,
    Material,
    augmentation_names,
    mask_context,
    mask_entity,
    mask_word,
    multiple_answers,
    negative_passage,
    random_flip,
    split_clauses,
)
from reading.features import make_features
from runtime.errors import UserError


@pytest.fixture
def material(bert_tokenizer: PreTrainedTokenizerFast) -> Material:
    return Material(bert_tokenizer, {}, 1)


def assert_answers_are_there(row: dict[str, Any]) -> None:
    for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
        assert row["context"][start : start + len(text)] == text


# ------------------------------------------------------------------------------------------------------ random_flip


@pytest.mark.parametrize(
    ("question", "flipped"),
    [
        (
            "세종이 1443년에 만들었고, 한글이라고도 불리는 글자는 무엇인가?",
            "한글이라고도 불리는 글자는 무엇인가? 세종이 1443년에 만들었고",
        ),
        ("조선의 왕이며 글자를 만든 사람은 누구인가?", "글자를 만든 사람은 누구인가? 조선의 왕이며"),
        ("왜군이 부산에 들어왔을 때, 바다를 지킨 장군은?", "바다를 지킨 장군은? 왜군이 부산에 들어왔을 때"),
        ("한강이 가운데를 흐르지만 바다가 없는 도시는?", "바다가 없는 도시는? 한강이 가운데를 흐르지만"),
    ],
)
def test_two_clauses_change_places(question: str, flipped: str) -> None:
    assert random_flip(question, random.Random(0), None) == flipped


@pytest.mark.parametrize(
    "question",
    [
        "훈민정음은 언제 만들어졌는가?",
        "한국에서 생산하고 있는 차의 이름은?",  # one verb
        "사과의 나라 금, 은을 캐는 곳은?",  # a list of nouns
        "인구가 1,000,000 명인 도시는?",
        "광고, 최고의 상을 받은 것은?",  # a clause has two words
        "책 '만들고, 또 쓰며 살다 간 사람'을 지은 사람은?",  # inside a quotation
        "서울이 만들었고, 무엇인가?",
        "",
    ],
)
def test_one_clause_stays_as_it_is(question: str) -> None:
    assert random_flip(question, random.Random(0), None) == question


def test_three_clauses_are_ordered_by_the_random_numbers() -> None:
    question = "왕의 아들로 태어났으며 책을 많이 읽었고 글자를 만든 사람은?"
    clauses = ["왕의 아들로 태어났으며", "책을 많이 읽었고", "글자를 만든 사람은?"]
    assert split_clauses(question) == clauses
    flipped = {random_flip(question, random.Random(seed), None) for seed in range(100)}
    assert len(flipped) == 5 and question not in flipped
    assert all(text.count(clause) == 1 for text in flipped for clause in clauses)


# ------------------------------------------------------------------------------------------------------------ masks


def test_mask_word(material: Material) -> None:
    question = "훈민정음은 언제 만들어졌는가?"
    masked = {mask_word(question, random.Random(seed), material) for seed in range(50)}
    assert masked == {
        f"{MASKED} 언제 만들어졌는가?",
        f"훈민정음은 {MASKED} 만들어졌는가?",
        f"훈민정음은 언제 {MASKED}?",
    }
    long = " ".join(["말"] * 20) + "?"
    assert Counter(mask_word(long, random.Random(0), material).rstrip("?").split()) == {"말": 17, MASKED: 3}
    assert mask_word("?!", random.Random(0), material) == "?!"


def test_mask_entity(material: Material) -> None:
    question = "1443년에 세종이 만든 문자는 무엇인가?"
    masked = {mask_entity(question, random.Random(seed), material) for seed in range(50)}
    assert masked == {f"{MASKED}년에 세종이 만든 문자는 무엇인가?", f"1443년에 {MASKED}이 만든 문자는 무엇인가?"}
    decomposed = unicodedata.normalize("NFD", question)
    assert mask_entity(decomposed, random.Random(0), material) in masked
    without = "가장 가까운 행성은 몇 번째 행성인가?"
    assert mask_entity(without, random.Random(0), material) == without


def windows(row: dict[str, Any], tokenizer: PreTrainedTokenizerFast, max_seq_len: int = 128) -> list[dict[str, Any]]:
    columns = make_features({name: [value] for name, value in row.items()}, [0], tokenizer, max_seq_len, 4).to_pydict()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_mask_context(material: Material) -> None:
    row = example("조선 세종의 훈민정음은 무엇인가?", context=f"{CONTEXT} 조선의 왕.")
    tokenizer = material.tokenizer
    mask = tokenizer.mask_token_id
    (window,) = windows(row, tokenizer)
    shared = {tokenizer.convert_ids_to_tokens(token) for token in tokenizer(row["question"])["input_ids"]}
    answer = range(CONTEXT.index("훈민정음"), CONTEXT.index("훈민정음") + 4)
    ever = set()
    for seed in range(60):
        input_ids = mask_context(window, row, random.Random(seed), material)
        changed = [i for i, (old, new) in enumerate(zip(window["input_ids"], input_ids, strict=True)) if old != new]
        assert changed and all(input_ids[i] == mask for i in changed)
        ever |= set(changed)
    assert window["input_ids"].count(mask) == 0  # the window itself stays as it was
    masked = {tuple(window["offset_mapping"][position]) for position in ever}  # only the context has offsets
    assert not any(start in answer for start, _ in masked)
    texts = {row["context"][start:end] for start, end in masked}
    assert {"세", "조선", "훈"} <= texts  # the second 훈민정음 is no gold answer
    assert "." not in texts and texts <= {text.removeprefix("##") for text in shared}


def test_mask_context_masks_half_and_spares_an_answer_that_a_window_cuts(material: Material) -> None:
    row = example("훈민정음은?", context="훈민정음 훈민정음")
    (window,) = windows(row, material.tokenizer)
    masked = mask_context(window, row, random.Random(0), material)
    assert masked.count(material.tokenizer.mask_token_id) == 2  # of the four tokens that are no answer
    row = example("훈민정음은?", answer=CONTEXT)
    cut = windows(row, material.tokenizer, 32)
    assert len(cut) > 1
    for window in cut:
        assert mask_context(window, row, random.Random(0), material) == window["input_ids"]


# --------------------------------------------------------------------------------------------------------- examples


def test_multiple_answers(material: Material) -> None:
    (row,) = multiple_answers(example(), random.Random(0), material)
    assert row["answers"] == {"text": ["훈민정음"] * 2, "answer_start": [11, 23]}
    assert_answers_are_there(row)
    (again,) = multiple_answers(row, random.Random(0), material)
    assert again == row
    second = example() | {"answers": {"text": ["훈민정음", "세종"], "answer_start": [23, 0]}}
    (row,) = multiple_answers(second, random.Random(0), material)
    starts = row["answers"]["answer_start"]
    assert starts[:2] == [23, 0]  # the given ones stay first
    assert sorted(starts) == [0, 11, 23, CONTEXT.rindex("세종")]
    assert_answers_are_there(row)


def test_a_piece_of_a_number_is_no_occurrence(material: Material) -> None:
    context = "4명이 44개를 1444년에 4년 동안 만들었다(4). a4 A급"
    (row,) = multiple_answers(example(answer="4", context=context), random.Random(0), material)
    assert row["answers"]["answer_start"] == [0, context.index("4년 동안"), context.index("4)")]
    (row,) = multiple_answers(example(answer="4명이", context=context), random.Random(0), material)
    assert row["answers"]["answer_start"] == [0]
    unanswerable = example() | {"answers": {"text": [], "answer_start": []}}
    assert multiple_answers(unanswerable, random.Random(0), material) == [unanswerable]


def test_negative_passage(pool: dict[str, list[dict[str, str]]], bert_tokenizer: PreTrainedTokenizerFast) -> None:
    material, given = Material(bert_tokenizer, pool, 2), example()
    drawn = set()
    for seed in range(50):
        original, *negatives = negative_passage(given, random.Random(seed), material)
        assert original == given and len(negatives) == 2
        drawn.add(tuple(sorted(negative["document_id"] for negative in negatives)))
        for negative in negatives:
            assert negative["question"] == given["question"]
            assert negative["answers"] == {"text": [], "answer_start": []}
            assert (negative["title"], negative["context"]) in [passage[1:] for passage in RETRIEVED]
            read = windows(negative, bert_tokenizer, 32)
            assert read
            for window in read:
                assert window["start_positions"] == window["end_positions"] == window["cls_index"] == 0
                assert window["gold_starts"] == window["gold_ends"] == [0]
    assert drawn == {("7", "8"), ("7", "9"), ("8", "9")}
    many = negative_passage(given, random.Random(0), Material(bert_tokenizer, pool, 9))
    assert len({row["id"] for row in many}) == 4  # all there are, with ids of their own
    assert negative_passage(given | {"id": "q2"}, random.Random(0), material) == [given | {"id": "q2"}]


# -------------------------------------------------------------------------------------------------------------- names


def test_names() -> None:
    assert augmentation_names(None) == augmentation_names("") == []
    assert augmentation_names("title_prefix, mask_word,random_flip,mask_word") == [
        "random_flip", "mask_word", "title_prefix"
    ]  # fmt: skip
    with pytest.raises(UserError, match=f"--augment mask_wrod is not .*: {', '.join(AUGMENTATIONS)}$"):
        augmentation_names("random_flip,mask_wrod")

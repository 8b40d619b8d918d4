"""Augmentations on examples written out, and the data of an epoch as a function of seed and epoch alone."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from arguments import AugmentationArguments, DatasetArguments, RetrieverArguments
from loading.examples import example_features
from processor import QAProcessor
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
from reading.augmented_features import AugmentedFeatures
from reading.features import make_features
from reading.negatives import answer_free
from retrieval.finding import find_passages
from retrieval.table import write_retrieved_df
from runtime.errors import DataError, UserError

CONTEXT = "세종은 1443년에 훈민정음을 만들었다. 훈민정음은 세종이 만든 글자이다."


def example(question: str = "세종이 만든 글자는 무엇인가?", answer: str = "훈민정음", context: str = CONTEXT) -> dict:
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {
        "id": "q1",
        "title": "세종",
        "question": question,
        "context": context,
        "answers": answers,
        "document_id": "3",
    }


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
    columns = make_features({name: [value] for name, value in row.items()}, [0], tokenizer, max_seq_len, 4)
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
    for window in windows(row, material.tokenizer, 32):
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


RETRIEVED = [
    ("3", "세종", CONTEXT),
    ("4", "한글", "한글은 훈민 정음이라고도 불린다."),  # blanks do not hide an answer
    ("5", "한글", unicodedata.normalize("NFD", "훈민정음은 글자이다.")),  # nor does the Unicode form
    ("6", "훈민정음", "세종이 지은 책이다."),  # nor the title
    ("7", "장영실", "장영실은 자격루를 만들었다."),
    ("8", "서울", "서울은 대한민국의 수도이다."),
    ("9", "부산", "부산은 도시이다."),
    ("10", "부산 (도시)", "부산은  도시이다.\u200b"),  # the same once more
    ("11", "한글", "훈민\u00ad정음은 글자이다."),  # what cannot be seen does not hide an answer either
]


@pytest.fixture
def pool() -> dict[str, list[dict[str, str]]]:
    unanswerable = example() | {"id": "q2", "answers": {"text": [], "answer_start": []}}
    rows = [(question, *passage) for question in ("q1", "q2", "q3") for passage in RETRIEVED]
    retrieved = pd.DataFrame(rows, columns=["id", "document_id", "title", "context"])
    return answer_free(Dataset.from_list([example(), unanswerable], features=example_features()), retrieved)


def test_negatives_never_hold_an_answer(pool: dict[str, list[dict[str, str]]]) -> None:
    assert {question: [passage["document_id"] for passage in passages] for question, passages in pool.items()} == {
        "q1": ["7", "8", "9"]
    }


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
            for window in windows(negative, bert_tokenizer, 32):
                assert window["start_positions"] == window["end_positions"] == window["cls_index"] == 0
                assert window["gold_starts"] == window["gold_ends"] == [0]
    assert drawn == {("7", "8"), ("7", "9"), ("8", "9")}
    many = negative_passage(given, random.Random(0), Material(bert_tokenizer, pool, 9))
    assert len({row["id"] for row in many}) == 4  # all there are, with ids of their own
    assert negative_passage(given | {"id": "q2"}, random.Random(0), material) == [given | {"id": "q2"}]


# --------------------------------------------------------------------------------------------------- names and epochs


def test_names() -> None:
    assert augmentation_names(None) == augmentation_names("") == []
    assert augmentation_names("title_prefix, mask_word,random_flip,mask_word") == [
        "random_flip", "mask_word", "title_prefix"
    ]  # fmt: skip
    with pytest.raises(UserError, match=f"--augment mask_wrod is not .*: {', '.join(AUGMENTATIONS)}$"):
        augmentation_names("random_flip,mask_wrod")


@pytest.fixture
def processor(dataset_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path) -> QAProcessor:
    arguments = DatasetArguments(dataset_path=dataset_path, max_seq_len=128, stride_len=16, cache_dir=str(tmp_path))
    return QAProcessor(arguments, bert_tokenizer)


def augmented(
    processor: QAProcessor, augment: str | None, seed: int = 1, **options: Any
) -> AugmentedFeatures | Dataset:
    if "negative_passage" in (augment or ""):
        folder, examples = Path(processor.dataset_args.cache_dir), processor.get_train_examples()
        retriever = RetrieverArguments(analyzer="bigram", index_dir=str(folder / "index"), top_k_retrieval=6)
        found = find_passages(examples, retriever, processor.dataset_args.dataset_path, False, "")
        write_retrieved_df(found.blocks(), folder / "passages.csv")
        options["negative_passages_path"] = [str(folder / "passages.csv")]
    return processor.get_augmented_features(AugmentationArguments(augment=augment, **options), seed)


def inputs(features: AugmentedFeatures | Dataset) -> list[list[int]]:
    return [features[row]["input_ids"] for row in range(len(features))]


@pytest.mark.parametrize(
    "augment",
    ["mask_word", "mask_entity", "mask_context", "negative_passage", "mask_word,mask_context,negative_passage"],
)
def test_an_epoch_is_a_function_of_seed_and_epoch(processor: QAProcessor, augment: str) -> None:
    features = augmented(processor, augment)
    zero = inputs(features)
    size, lengths = len(features), list(features["length"])
    features.set_epoch(1)
    one = inputs(features)
    random.seed(5)
    features.set_epoch(2)
    features.set_epoch(0)
    assert inputs(features) == zero and list(features["length"]) == lengths
    resumed = augmented(processor, augment)
    resumed.set_epoch(1)
    assert inputs(resumed) == one
    assert zero != one and len(one) == size
    assert inputs(augmented(processor, augment, seed=2)) != zero
    assert features.__getitems__([1, 0]) == [features[1], features[0]]


def test_originals_are_read_as_often_as_the_probability_says(processor: QAProcessor) -> None:
    originals = inputs(processor.get_train_features())
    for probability in (0.2, 0.8):
        features = augmented(processor, "mask_word,mask_context", augment_probability=probability)
        changed = 0
        for epoch in range(40):
            features.set_epoch(epoch)
            changed += sum(row not in originals for row in inputs(features))
        assert changed / (40 * len(originals)) == pytest.approx(probability, abs=0.08)


def test_one_drawn_augmentation_changes_an_example_at_a_time(processor: QAProcessor) -> None:
    mask, separator = processor.tokenizer.mask_token_id, processor.tokenizer.sep_token_id
    features = augmented(processor, "mask_word,mask_context", augment_probability=0.9)
    where = Counter()
    for epoch in range(10):
        features.set_epoch(epoch)
        for row in inputs(features):
            border = row.index(separator)
            where[mask in row[:border], mask in row[border:]] += 1
    assert where[True, True] == 0
    assert where[True, False] > 30 and where[False, True] > 30


def test_a_mask_token_that_the_question_spells_stays_text(processor: QAProcessor) -> None:
    tokenizer = processor.tokenizer
    spelled = processor.get_train_examples().map(lambda row: {"question": f"[MASK] {row['question']}"})
    processor._splits["train"] = spelled
    features = augmented(processor, "mask_word", augment_probability=0.9)
    counts = Counter(row.count(tokenizer.mask_token_id) for row in inputs(features))
    assert set(counts) == {0, 1} and counts[1] > 4  # none of them is the spelled one
    assert tokenizer.convert_tokens_to_ids(MASKED) == tokenizer.unk_token_id  # the reader's own never learns of it


def test_every_epoch_has_as_many_features_whatever_is_drawn() -> None:
    tokens = {"text": [], "answer_start": []}
    rows = [example() | {"id": str(number), "answers": tokens} for number in range(4)]
    counts = iter([5, 8, 3])

    def build(examples: Dataset, what: str, tokenizer: None) -> Dataset:
        n = next(counts)
        return Dataset.from_dict({"offset_mapping": [None] * n, "example_index": [0] * n, "row": list(range(n))})

    examples = Dataset.from_list(rows, features=example_features())
    features = AugmentedFeatures(examples, build, ["random_flip"], 0.5, Material(None, {}, 1), seed=1)
    assert features["row"][:] == [0, 1, 2, 3, 4]
    features.set_epoch(1)
    assert len(set(features["row"])) == 5 and max(features["row"]) >= 5  # some of the eight, none twice
    features.set_epoch(2)
    assert len(features) == 5 and set(features["row"]) == {0, 1, 2}  # all of the three, two of them twice


def test_negatives_come_from_tables(processor: QAProcessor, tmp_path) -> None:
    originals = processor.get_train_features()
    features = augmented(processor, "negative_passage", negative_passages=2)
    assert Counter(features["example_index"]) == dict.fromkeys(range(12), 3)  # all three are of the one question
    # 12 questions; the passages of this sample are one window each
    assert len(features) == len(originals) + 24
    answered = [row for row in range(len(features)) if features[row]["gold_starts"] != [0]]
    assert len(answered) == len(originals)
    with pytest.raises(UserError, match="--augment negative_passage needs --negative_passages_path"):
        processor.get_augmented_features(AugmentationArguments(augment="negative_passage"), 1)
    table = pd.DataFrame(
        [
            {"id": f"train-{number}", "question": "", "rank": 1, "document_id": "9", "title": "", "context": "없다."}
            for number in range(12)
        ]
    ).assign(score=1.0)
    table[:5].to_csv(tmp_path / "first.csv", index=False)
    table[5:].to_csv(tmp_path / "second.csv", index=False)
    both = [str(tmp_path / name) for name in ("first.csv", "second.csv")]
    for paths, negatives in ((both, 12), (both[:1], 5)):
        arguments = AugmentationArguments(augment="negative_passage", negative_passages_path=paths)
        assert len(processor.get_augmented_features(arguments, 1)) == len(originals) + negatives
    table.assign(id="stranger").to_csv(tmp_path / "other.csv", index=False)
    arguments = AugmentationArguments(augment="negative_passage", negative_passages_path=[str(tmp_path / "other.csv")])
    with pytest.raises(DataError, match=r"other\.csv: no question of the data set is in it"):
        processor.get_augmented_features(arguments, 1)


def test_multiple_answers_reach_the_features(processor: QAProcessor) -> None:
    before = processor.get_train_features()
    after = augmented(processor, "multiple_answers")
    assert inputs(after) == inputs(before)
    golds = [[len(row["gold_starts"]) for row in features] for features in (before, [after[i] for i in range(12)])]
    assert max(golds[0]) == 1 and max(golds[1]) == 2  # 수성 stands twice in its passage
    assert [after[row]["start_positions"] for row in range(12)] == list(before["start_positions"])


def test_without_augmentation_of_training_the_features_are_the_usual_ones(processor: QAProcessor) -> None:
    for augment in (None, "title_prefix"):
        assert augmented(processor, augment) is processor.get_train_features()


def test_masks_need_a_mask_token(dataset_path: str, roberta_tokenizer: PreTrainedTokenizerFast) -> None:
    processor = QAProcessor(
        DatasetArguments(dataset_path=dataset_path, max_seq_len=64, stride_len=8), roberta_tokenizer
    )
    with pytest.raises(UserError, match="--augment mask_word needs a tokenizer with a mask token"):
        augmented(processor, "random_flip,mask_word")

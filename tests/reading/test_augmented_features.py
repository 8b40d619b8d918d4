"""The data of an epoch with augmentation: a function of seed and epoch alone."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset
from one_example import example
from transformers import PreTrainedTokenizerFast

from arguments import AugmentationArguments, DatasetArguments, RetrieverArguments
from loading.examples import example_features
from processor import QAProcessor
from reading.augmentation import MASKED, Material
from reading.augmented_features import AugmentedFeatures
from retrieval.finding import find_passages
from retrieval.table import write_retrieved_df
from runtime.errors import DataError, UserError


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

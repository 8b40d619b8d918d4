"""Batches: every row once, lengths together, padding that no model sees."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
import torch
from comparing import assert_close
from datasets import Dataset
from several_golds import SECOND, features_of
from tiny_models import tiny_bert
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from models import load_reader
from reading.batching import (
    FeatureCollator,
    LengthGroupedBatches,
    QuestionBatches,
    whole_questions,
    windows_of_questions,
)
from reading.features import build_features
from runtime.errors import UserError


def _feature(length: int, golds: int = 1) -> dict:
    return {
        "input_ids": [7] * length,
        "attention_mask": [1] * length,
        "token_type_ids": [1] * length,
        "answer_mask": [1] * length,
        "example_index": 0,
        "length": length,
        "offset_mapping": [None] * length,
        "example_id": "a",
        "cls_index": 0,
        "gold_starts": [3] * golds,
        "gold_ends": [4] * golds,
    }


# ---------------------------------------------------------------------------------------------------------- collator


def test_each_field_has_its_own_padding(
    bert_tokenizer: PreTrainedTokenizerFast, roberta_tokenizer: PreTrainedTokenizerFast
) -> None:
    features = [_feature(5), _feature(33, golds=2)]
    batch = FeatureCollator(tiny_bert(roberta_tokenizer), roberta_tokenizer)(features)
    own = ["answer_mask", "cls_index", "example_index", "start_positions", "end_positions"]
    assert list(batch) == ["input_ids", "attention_mask", *own]
    assert batch["input_ids"].tolist() == [[7] * 5 + [1] * 59, [7] * 33 + [1] * 31]  # <pad> is 1
    for name in ("attention_mask", "answer_mask"):
        assert batch[name].tolist() == [[1] * 5 + [0] * 59, [1] * 33 + [0] * 31]
    assert batch["start_positions"].tolist() == [[3, -1], [3, 3]]
    assert batch["end_positions"].tolist() == [[4, -1], [4, 4]]

    batch = FeatureCollator(tiny_bert(bert_tokenizer), bert_tokenizer)(features)
    assert batch["input_ids"][0].tolist() == [7] * 5 + [0] * 59
    assert batch["token_type_ids"][0].tolist() == [1] * 5 + [0] * 59
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


@pytest.mark.parametrize(
    ("lengths", "max_length", "padded"),
    [((3, 9), None, 32), ((32,), None, 32), ((33, 2), None, 64), ((97,), None, 100), ((3, 9), 100, 100)],
)
def test_the_longest_row_rounded_up_decides_but_never_beyond_the_model(
    bert_tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    lengths: tuple[int, ...],
    max_length: int | None,
    padded: int,
) -> None:
    monkeypatch.setattr(bert_tokenizer, "model_max_length", 100)
    batch = FeatureCollator(tiny_bert(bert_tokenizer), bert_tokenizer, max_length)(
        [_feature(length) for length in lengths]
    )
    assert batch["input_ids"].shape == (len(lengths), padded)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_logits_do_not_depend_on_what_a_row_was_batched_with(
    request: pytest.FixtureRequest, examples: Dataset, family: str, attention: str
) -> None:
    tokenizer = request.getfixturevalue(f"{family}_tokenizer")
    config_class, model_class = {
        "bert": (BertConfig, BertForQuestionAnswering),
        "roberta": (RobertaConfig, RobertaForQuestionAnswering),
    }[family]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=140,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    model = model_class._from_config(config, attn_implementation=attention).eval()
    rows = list(build_features(examples, tokenizer, 128, 16))

    def logits(features: list[dict], collator: FeatureCollator) -> torch.Tensor:
        batch = {k: v for k, v in collator(features).items() if k in tokenizer.model_input_names}
        return model(**batch).start_logits

    together = logits(rows, FeatureCollator(model, tokenizer))
    widest = logits(rows, FeatureCollator(model, tokenizer, max_length=128))
    assert len({row["length"] for row in rows}) > 3 and together.shape[1] < widest.shape[1]
    for row, mine, wide in zip(rows, together, widest, strict=True):
        alone = logits([row], FeatureCollator(model, tokenizer))[0][: row["length"]]
        assert alone.std() > 0.1
        for other in (mine, wide):
            assert_close(other[: row["length"]], alone)


# ----------------------------------------------------------------------------------------------------------- batches


def _lengths(rows: int) -> list[int]:
    rng = random.Random(0)
    return [rng.choice([rng.randint(40, 384), 384]) for _ in range(rows)]


def _padding(batches: list[list[int]], lengths: list[int]) -> int:
    return sum(max(lengths[row] for row in batch) - lengths[row] for batch in batches for row in batch)


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 4), (4, 4), (1003, 8), (1003, 1)])
def test_every_row_comes_once_an_epoch(rows: int, batch_size: int) -> None:
    batches = LengthGroupedBatches(_lengths(rows), batch_size, seed=1)
    for epoch in range(3):
        batches.start_epoch(epoch, _lengths(rows))
        read = list(batches)
        assert Counter(row for batch in read for row in batch) == Counter(range(rows))
        assert len(read) == len(batches) == -(-rows // batch_size)
        assert sorted(map(len, read), reverse=True)[:-1] == [batch_size] * (len(batches) - 1)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize(("rows", "batch_size"), [(12, 5), (13, 2), (22, 4), (25, 4), (9, 1), (17, 2), (8, 4)])
def test_processes_share_the_rows_of_an_epoch(rows: int, batch_size: int, processes: int) -> None:
    """Also where a short batch is in the middle: accelerate's own way drops rows there, or gives some twice."""
    shares = [LengthGroupedBatches(_lengths(rows), batch_size, 3, index, processes) for index in range(processes)]
    for epoch in range(6):
        for share in shares:
            share.start_epoch(epoch, _lengths(rows))
        read = [list(share) for share in shares]
        assert {len(batches) for batches in read} == {len(share) for share in shares}
        assert Counter(row for batches in read for batch in batches for row in batch) == Counter(range(rows))
        together = [[row for part in parts for row in part] for parts in zip(*read, strict=True)]
        assert together == shares[0].joint_batches
        assert all(1 <= len(batch) <= batch_size + 1 for batches in read for batch in batches)
        if rows % (batch_size * processes) >= processes:  # the rows left over are a batch of their own
            alone = LengthGroupedBatches(_lengths(rows), batch_size * processes, 3)
            alone.start_epoch(epoch, _lengths(rows))
            assert together == list(alone)


def test_fewer_rows_than_processes_are_refused() -> None:
    with pytest.raises(UserError, match="3 features cannot be dealt out to 4 processes: start fewer"):
        LengthGroupedBatches(_lengths(3), 2, 0, 0, 4)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = _lengths(300)

    def order(seed: int, epoch: int, read_before: int = 0) -> list[list[int]]:
        batches = LengthGroupedBatches(lengths, 8, seed)
        for _ in range(read_before):
            list(batches)
        batches.start_epoch(epoch, lengths)
        torch.manual_seed(epoch)
        return list(batches)

    assert order(1, 2) == order(1, 2, read_before=2)
    assert len({str(order(seed, epoch)) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9
    before = torch.get_rng_state()
    list(LengthGroupedBatches(lengths, 8, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_lengths_are_grouped_and_batches_are_not_sorted() -> None:
    lengths = _lengths(4000)
    grouped = list(LengthGroupedBatches(lengths, 16, seed=0))
    rows = random.Random(1).sample(range(4000), 4000)
    shuffled = [rows[start : start + 16] for start in range(0, 4000, 16)]
    assert _padding(grouped, lengths) < _padding(shuffled, lengths) / 20
    longest = [max(lengths[row] for row in batch) for batch in grouped]
    assert sum(after > before for before, after in pairwise(longest)) > 50
    # a batch is not the same rows in every epoch
    other = LengthGroupedBatches(lengths, 16, seed=0)
    other.start_epoch(1, lengths)
    assert len({frozenset(batch) for batch in grouped} & {frozenset(batch) for batch in other}) < 5


@pytest.mark.parametrize("tokenizer_name", ["bert_tokenizer", "roberta_tokenizer"])
def test_a_batch_pads_gold_spans(tokenizer_name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(tokenizer_name)
    rows = []
    for answers in ([], ["1443년", "조선의", SECOND], ["세종"]):
        columns = features_of(tokenizer, answers)
        rows.append({name: values[0] for name, values in columns.items()})
    batch = FeatureCollator(tiny_bert(tokenizer), tokenizer)(rows)
    golds = [[*zip(row["gold_starts"], row["gold_ends"], strict=True)] for row in rows]
    assert [len(spans) for spans in golds] == [1, 3, 1]
    expected = torch.tensor([spans + [(-1, -1)] * (3 - len(spans)) for spans in golds])  # (batch, golds, 2)
    assert torch.equal(torch.stack([batch["start_positions"], batch["end_positions"]], dim=-1), expected)
    assert batch["cls_index"].tolist() == [0, 0, 0]


# ---------------------------------------------------------------------------------------------- whole questions


def _features(questions: int, seed: int = 0, most: int = 5) -> Dataset:
    """Features of so many questions, with 1 to ``most`` windows each, of which one or none has the answer."""
    rng = random.Random(seed)
    rows = []
    for question in range(questions):
        windows, holder = rng.randint(1, most), rng.randint(0, most)
        rows += [
            {
                "example_index": question,
                "length": rng.randint(30, 384),
                "gold_starts": [9 if window == holder else 0],
                "cls_index": 0,
            }
            for window in range(windows)
        ]
    rng.shuffle(rows)
    return Dataset.from_list(rows)


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("batch_size", [5, 8])
def test_the_windows_of_a_question_are_in_one_batch(batch_size: int, processes: int) -> None:
    features = _features(200)
    question_of = list(features["example_index"])
    shares = [QuestionBatches(features, batch_size, 1, index, processes) for index in range(processes)]
    counts = set()
    for epoch in range(4):
        for share in shares:
            share.start_epoch(epoch, features["length"])
        read = [list(share) for share in shares]
        joint = [[row for part in parts for row in part] for parts in zip(*read, strict=True)]
        assert joint == shares[0].joint_batches
        counts |= {len(share) for share in shares}
        batches = [batch for one in read for batch in one]
        assert all(1 <= len(batch) <= batch_size for batch in batches)
        whole = {frozenset(rows) for rows in windows_of_questions(question_of)}
        for batch in batches:
            questions = {question_of[row] for row in batch}
            assert {frozenset(row for row in batch if question_of[row] == one) for one in questions} <= whole
        missing = set(range(len(features))) - {row for batch in batches for row in batch}
        assert len(missing) < len(features) / 10  # batches of an epoch that has more than the first
        assert len(batches) < 1.3 * len(features) / batch_size + processes
    assert len(counts) == 1


def test_of_a_question_with_too_many_windows_those_with_answer_are_read() -> None:
    features = _features(60, most=9)
    batches = QuestionBatches(features, 4, seed=1)
    holders = {row for row in range(len(features)) if features[row]["gold_starts"] == [9]}
    read = []
    for epoch in range(12):
        batches.start_epoch(epoch, features["length"])
        read.append({row for batch in batches for row in batch})
        parted = [batch for batch in batches if len(batch) > 4]
        assert not parted and len(holders - read[-1]) <= 0.1 * len(holders)
    assert len(set.union(*read)) > 0.98 * len(features)  # another choice in every epoch


def test_whole_questions_of_like_length_share_a_batch_and_the_order_is_of_seed_and_epoch() -> None:
    features = _features(1000, most=3)
    lengths = list(features["length"])
    first, second = (QuestionBatches(features, 12, seed=5) for _ in range(2))
    second.start_epoch(1, lengths)
    second.start_epoch(0, lengths)
    assert list(first) == list(second)
    second.start_epoch(1, lengths)
    assert list(first) != list(second)
    rows = random.Random(1).sample(range(len(features)), len(features))
    shuffled = [rows[start : start + 12] for start in range(0, len(rows), 12)]
    assert _padding(list(first), lengths) < 0.7 * _padding(shuffled, lengths)


def test_reading_batches_hold_whole_questions_however_many_windows_they_have() -> None:
    lengths = [10, 40, 20, 30, 5, 6, 7, 8]
    questions = windows_of_questions([0, 1, 0, 1, 2, 2, 2, 2])
    assert questions == [[0, 2], [1, 3], [4, 5, 6, 7]]
    assert whole_questions(questions, lengths, 3) == [[1, 3], [0, 2], [4, 5, 6, 7]]
    assert whole_questions(questions, lengths, 4) == [[1, 3, 0, 2], [4, 5, 6, 7]]


def test_a_head_that_scores_ends_given_their_start_cannot_be_shared(
    encoder_path: str, bert_tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(UserError, match=r"the head start_conditioned_end does not allow, .* choose another --head"):
        FeatureCollator(load_reader(encoder_path, "start_conditioned_end"), bert_tokenizer, shared=True)

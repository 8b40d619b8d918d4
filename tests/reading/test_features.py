"""Features: exact labels, true offsets, windows without gaps, and a cache that is keyed by contents."""

from __future__ import annotations

import copy
import os
import time
import unicodedata
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killing import leave_half_written
from refusing import no_file_above
from several_golds import CONTEXT, SECOND, features_of
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import reading.features
from reading.features import build_features, check_tokenizer, features_key, make_features
from runtime.errors import UserError, WriteError

MAX_SEQ_LEN, STRIDE_LEN = 64, 12


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """One tokenizer with word pieces and token types, one with sentence pieces and neither."""
    return request.getfixturevalue(f"{request.param}_tokenizer")


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token, so that a Hangul syllable is three."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "</s>", "<pad>", *letters])}
    backend = Tokenizer(models.BPE(vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    names = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **names, model_max_length=512, model_input_names=["input_ids", "attention_mask"]
    )


@pytest.fixture
def long_example(examples: Dataset) -> dict[str, Any]:
    """An example whose context is all passages in a row, with the answer in the middle."""
    contexts = list(dict.fromkeys(examples["context"]))
    context = " ".join(contexts)
    return _example(context, "해운대", question="부산의 바닷가는?")


def _example(context: str, answer: str | None, question: str = "누구인가?") -> dict[str, Any]:
    answers = {"text": [], "answer_start": []}
    if answer is not None:
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"id": "q", "title": "", "question": question, "context": context, "answers": answers, "document_id": ""}


def _features(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, max_seq_len: int = 128, stride_len: int = 16
) -> list[dict[str, Any]]:
    """Return the features of examples, one dictionary each."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    features = make_features(columns, range(len(rows)), tokenizer, max_seq_len, stride_len).to_pydict()
    return [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]


def _smallest_cover(offsets: list[list[int] | None], start: int, end: int) -> tuple[int, int]:
    """Try every pair of tokens; (0, 0) if none covers ``[start, end)``."""
    inside = [i for i, span in enumerate(offsets) if span is not None]
    pairs = [(j - i, i, j) for i in inside for j in inside if offsets[i][0] <= start and end <= offsets[j][1]]
    return min(pairs)[1:] if pairs else (0, 0)


# ------------------------------------------------------------------------------------------------------------ labels


def test_labels_are_the_smallest_tokens_that_hold_the_answer(
    examples: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = list(examples)
    wider = 0
    for row, feature in zip(rows, _features(rows, tokenizer), strict=True):
        answer, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        first, last = feature["start_positions"], feature["end_positions"]
        assert (first, last) == _smallest_cover(feature["offset_mapping"], start, start + len(answer))
        labelled = row["context"][feature["offset_mapping"][first][0] : feature["offset_mapping"][last][1]]
        assert answer in labelled
        wider += labelled.strip() != answer
        decoded = tokenizer.decode(feature["input_ids"][first : last + 1]).replace(" ", "")
        assert answer.replace(" ", "") in decoded
    # fused particles: 1443년에 and 한산도에서 are one sentence piece each
    assert wider == (0 if "token_type_ids" in tokenizer.model_input_names else 2)


def test_an_answer_cut_by_a_window_points_at_cls_and_a_whole_one_at_its_tokens(
    examples: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    cut = whole = 0
    context = " ".join(dict.fromkeys(examples["context"]))
    words = context.split()
    for answer in map(" ".join, pairwise(words)):
        start = context.index(answer)
        for feature in _features([_example(context, answer)], tokenizer, MAX_SEQ_LEN, STRIDE_LEN):
            offsets = feature["offset_mapping"]
            label = (feature["start_positions"], feature["end_positions"])
            assert label == _smallest_cover(offsets, start, start + len(answer))
            whole += label != (0, 0)
            touched = any(span and span[0] < start + len(answer) and start < span[1] for span in offsets)
            cut += touched and label == (0, 0)
    assert whole >= 50 and cut >= 5


def test_an_unanswerable_question_points_at_cls(tokenizer: PreTrainedTokenizerFast) -> None:
    (feature,) = _features([_example("세종은 조선의 왕이다.", None)], tokenizer)
    assert (feature["start_positions"], feature["end_positions"]) == (0, 0)
    assert feature["input_ids"][0] == tokenizer.cls_token_id


@pytest.mark.parametrize("answer", [" 세종", "왕이다. ", "  세종은 조선의 왕이다. "])
def test_blanks_around_an_answer_do_not_matter(tokenizer: PreTrainedTokenizerFast, answer: str) -> None:
    context = "  세종은 조선의 왕이다. "
    bare, blank = _features([_example(context, answer.strip()), _example(context, answer)], tokenizer)
    assert bare["start_positions"] > 0
    for name in ("start_positions", "end_positions"):
        assert blank[name] == bare[name]


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff \u200e", "\x07", "\u3164"])
def test_what_cannot_be_seen_at_the_edges_of_questions_and_answers_does_not_matter(
    tokenizer: PreTrainedTokenizerFast, mark: str
) -> None:
    context = f"세종은 {mark}조선{mark} 왕이다."
    edged = _example(context, f"{mark}조선{mark}", question=f"{mark}누구인가?{mark}")
    bare, blank = _features([_example(context, "조선"), edged], tokenizer)
    assert {name: bare[name] for name in bare if name != "example_index"} == {
        name: blank[name] for name in blank if name != "example_index"
    }


def test_an_empty_context_gives_one_feature_without_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    (feature,) = _features([_example("", None)], tokenizer)
    assert set(map(str, feature["offset_mapping"])) == {"None"}
    assert (feature["start_positions"], sum(feature["answer_mask"])) == (0, 1)


# ----------------------------------------------------------------------------------------------- offsets and windows


def test_only_context_tokens_have_offsets_and_only_they_and_cls_can_be_answers(
    examples: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = list(examples)
    for row, feature in zip(rows, _features(rows, tokenizer), strict=True):
        question = tokenizer(row["question"])["input_ids"]
        separators = tokenizer.num_special_tokens_to_add(pair=True) - 3
        before = len(question) + separators
        outside = [*range(before), feature["length"] - 1]
        assert feature["input_ids"][: len(question)] == question
        assert [i for i, span in enumerate(feature["offset_mapping"]) if span is None] == outside
        assert [i for i, can in enumerate(feature["answer_mask"]) if not can] == outside[1:]
        assert len(feature["input_ids"]) == len(feature["answer_mask"]) == feature["length"]


def test_what_a_model_is_fed_is_what_the_tokenizer_makes_of_the_pair(
    examples: Dataset, long_example: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = [*examples, long_example, _example("", None), *list(examples)[:3]]
    pairs = [row["question"] for row in rows], [row["context"] for row in rows]
    options = {"truncation": "only_second", "max_length": MAX_SEQ_LEN, "stride": STRIDE_LEN}
    encoded = tokenizer(*pairs, **options, return_overflowing_tokens=True)
    features = _features(rows, tokenizer, MAX_SEQ_LEN, STRIDE_LEN)
    assert len(features) > len(rows)
    for name in tokenizer.model_input_names:
        assert [feature[name] for feature in features] == encoded[name]
    assert [feature["example_index"] for feature in features] == encoded["overflow_to_sample_mapping"]


def test_windows_overlap_by_the_stride_and_leave_nothing_out(
    long_example: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    features = _features([long_example], tokenizer, MAX_SEQ_LEN, STRIDE_LEN)
    assert len(features) > 3
    assert {feature["length"] for feature in features[:-1]} == {MAX_SEQ_LEN} and features[-1]["length"] <= MAX_SEQ_LEN
    windows = [[tuple(span) for span in feature["offset_mapping"] if span is not None] for feature in features]
    for window, following in pairwise(windows):
        assert window[-STRIDE_LEN:] == following[:STRIDE_LEN]
    read = windows[0] + [span for window in windows[1:] for span in window[STRIDE_LEN:]]
    whole = tokenizer(long_example["context"], add_special_tokens=False, return_offsets_mapping=True)
    assert read == whole["offset_mapping"]
    assert [feature["example_index"] for feature in features] == [0] * len(features)


def test_decomposed_hangul_gives_the_same_tokens_with_offsets_of_its_own(
    examples: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    for row in examples:
        parts = {name: unicodedata.normalize("NFD", row[name]) for name in ("context", "question")}
        answer = unicodedata.normalize("NFD", row["answers"]["text"][0])
        decomposed = _example(parts["context"], answer, parts["question"])
        composed_feature, feature = _features([row, decomposed], tokenizer)
        for name in ("input_ids", "start_positions", "end_positions", "answer_mask"):
            assert feature[name] == composed_feature[name]
        for there, here in zip(composed_feature["offset_mapping"], feature["offset_mapping"], strict=True):
            assert (there is None) == (here is None)
            if here is not None:
                text = decomposed["context"][here[0] : here[1]]
                assert unicodedata.normalize("NFC", text) == row["context"][there[0] : there[1]]


def test_token_types_come_when_the_tokenizer_names_them(
    examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast, roberta_tokenizer: PreTrainedTokenizerFast
) -> None:
    row = examples[0]
    with_types = _features([row], bert_tokenizer)[0]
    context_tokens = [span is not None for span in with_types["offset_mapping"]]
    assert with_types["token_type_ids"][:-1] == list(map(int, context_tokens[:-1]))
    assert "token_type_ids" not in _features([row], roberta_tokenizer)[0]
    without = copy.deepcopy(bert_tokenizer)
    without.model_input_names = ["input_ids", "attention_mask"]
    assert "token_type_ids" not in _features([row], without)[0]
    columns = build_features(Dataset.from_list([row]), without, 128, 16).column_names
    assert columns[:4] == ["input_ids", "attention_mask", "example_id", "example_index"]


# ------------------------------------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("name", "sentences"),
    [("bert_tokenizer", 5), ("roberta_tokenizer", 5), ("byte_tokenizer", 1)],  # the last: 17 characters, 45 tokens
)
def test_a_long_question_is_cut_and_its_context_is_not(
    request: pytest.FixtureRequest, long_example: dict[str, Any], name: str, sentences: int, log_lines: list[str]
) -> None:
    tokenizer = request.getfixturevalue(name)
    question = "한강은 서울의 가운데를 흐르는가 " * sentences
    features = _features([long_example | {"question": question}], tokenizer, MAX_SEQ_LEN, STRIDE_LEN)
    room = MAX_SEQ_LEN - tokenizer.num_special_tokens_to_add(pair=True) - STRIDE_LEN - 16
    assert {feature["length"] for feature in features[:-1]} == {MAX_SEQ_LEN}
    inside = [[tuple(span) for span in feature["offset_mapping"] if span] for feature in features]
    read = inside[0] + [span for window in inside[1:] for span in window[STRIDE_LEN:]]
    whole = tokenizer(long_example["context"], add_special_tokens=False, return_offsets_mapping=True)
    assert read == whole["offset_mapping"]
    tokens = len(tokenizer(question.strip(), add_special_tokens=False)["input_ids"])
    assert log_lines == [f"WARNING a question of {tokens} tokens was cut to its first {room}: {question.strip()[:40]}…"]


def test_a_question_of_many_characters_but_few_tokens_is_not_cut(
    long_example: dict[str, Any], bert_tokenizer: PreTrainedTokenizerFast, log_lines: list[str]
) -> None:
    question = "대한민국 " * 12
    feature = _features([long_example | {"question": question}], bert_tokenizer, MAX_SEQ_LEN, STRIDE_LEN)[0]
    assert feature["input_ids"][:14] == bert_tokenizer(question)["input_ids"]
    assert log_lines == []


def test_bytes_are_tokens_and_the_label_is_still_the_answer(
    examples: Dataset, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = list(examples)
    for row, feature in zip(rows, _features(rows, byte_tokenizer, 512, 64), strict=True):
        label = feature["input_ids"][feature["start_positions"] : feature["end_positions"] + 1]
        assert byte_tokenizer.decode(label).strip() == row["answers"]["text"][0]


def test_lengths_without_room_for_a_question_are_refused(examples: Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    expected = "--max_seq_len 32 leaves no room for a question beside --stride_len 16: raise the one or lower the other"
    with pytest.raises(UserError, match=expected):
        _features([examples[0]], tokenizer, 32, 16)


def test_more_than_the_model_reads_is_refused(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    check_tokenizer(bert_tokenizer, 128)
    with pytest.raises(UserError, match=r"--max_seq_len 129 is more than .* can read \(128 tokens\)"):
        check_tokenizer(bert_tokenizer, 129)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(UserError, match="google/canine-s is a slow one and gives no character offsets; use a model"):
        check_tokenizer(SimpleNamespace(is_fast=False, name_or_path="google/canine-s"), 128)


# ------------------------------------------------------------------------------------------------------------- cache


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many examples each call of make_features got."""
    sizes: list[int] = []
    original = make_features

    def counting(examples, *args, **options):
        sizes.append(len(examples["id"]))
        return original(examples, *args, **options)

    monkeypatch.setattr(reading.features, "make_features", counting)
    return sizes


def test_the_same_contents_are_read_back(
    examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, built: list[int]
) -> None:
    bert_tokenizer.save_pretrained(tmp_path / "tokenizer")
    cache = tmp_path / "cache"
    first = build_features(examples, bert_tokenizer, 128, 16, cache)
    assert built == [12]
    # loaded in another way, by a tokenizer that was never called before
    again = Dataset.from_dict(examples.to_dict(), features=examples.features)
    second = build_features(again, AutoTokenizer.from_pretrained(tmp_path / "tokenizer"), 128, 16, cache)
    assert built == [12]
    assert second.to_dict() == first.to_dict()
    (kept,) = cache.glob("features-*.arrow")
    assert {path.name for path in cache.iterdir()} == {kept.name, f"{kept.name}.xxh3"}


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "{}", "unsealed"])
def test_damaged_features_are_made_again(
    examples: Dataset,
    bert_tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    built: list[int],
    log_lines: list[str],
    damage: str,
) -> None:
    first = build_features(examples, bert_tokenizer, 128, 16, tmp_path).to_dict()
    (kept,) = tmp_path.glob("*.arrow")
    content = kept.read_bytes()
    kept.write_bytes(
        {
            "flipped": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
            "truncated": content[:-9],
            "empty": b"",
            "{}": b"{}",
            "unsealed": content,
        }[damage]
    )
    if damage == "unsealed":
        (tmp_path / f"{kept.name}.xxh3").unlink()
    log_lines.clear()
    for _ in range(2):
        assert build_features(examples, bert_tokenizer, 128, 16, tmp_path).to_dict() == first
    assert built == [12, 12] and kept.read_bytes() == content
    fault = "it has no checksum" if damage == "unsealed" else "it is not as it was written"
    assert [line for line in log_lines if line.startswith("WARNING")] == [
        f"WARNING features {kept} are damaged and are made again: {fault}"
    ]


def _other_answer(examples: Dataset) -> Dataset:
    rows = list(examples)
    rows[3] = _example(rows[3]["context"], "이순신", rows[3]["question"])
    return Dataset.from_list(rows, features=examples.features)


def _other_vocabulary(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    other = copy.deepcopy(tokenizer)
    other.add_tokens([AddedToken("거북선")])
    return other


def _other_inputs(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    other = copy.deepcopy(tokenizer)
    other.model_input_names = ["input_ids", "attention_mask"]
    return other


@pytest.mark.parametrize(
    "change",
    [
        lambda examples, tokenizer: (_other_answer(examples), tokenizer, 128, 16),
        lambda examples, tokenizer: (examples.select(range(11)), tokenizer, 128, 16),
        lambda examples, tokenizer: (examples, _other_vocabulary(tokenizer), 128, 16),
        lambda examples, tokenizer: (examples, _other_inputs(tokenizer), 128, 16),
        lambda examples, tokenizer: (examples, tokenizer, 127, 16),
        lambda examples, tokenizer: (examples, tokenizer, 128, 17),
    ],
    ids=["an answer", "fewer rows", "vocabulary", "model inputs", "max_seq_len", "stride_len"],
)
def test_other_contents_are_built_anew(
    examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, built: list[int], change: Any
) -> None:
    build_features(examples, bert_tokenizer, 128, 16, tmp_path)
    changed = build_features(*change(examples, bert_tokenizer), tmp_path)
    assert len(built) == 2
    uncached = build_features(*change(examples, bert_tokenizer))
    assert changed.to_dict() == uncached.to_dict()


def test_the_key_does_not_depend_on_what_the_tokenizer_did_before(
    examples: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    fresh = copy.deepcopy(tokenizer)
    fresh.backend_tokenizer.no_truncation()
    before = features_key(examples, fresh, 128, 16)
    fresh(["부산", "서울의 인구"], truncation=True, max_length=4, padding=True)
    assert features_key(examples, fresh, 128, 16) == before


def test_without_a_cache_nothing_is_written(
    examples: Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    features = build_features(examples, tokenizer, 128, 16)
    assert list(features["example_index"]) == list(range(12))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_features(
    examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, built: list[int]
) -> None:
    with no_file_above(4096), pytest.raises(WriteError, match=r"features-\w+.arrow cannot be written: File too large"):
        build_features(examples, bert_tokenizer, 128, 16, tmp_path)
    assert list(tmp_path.iterdir()) == []
    build_features(examples, bert_tokenizer, 128, 16, tmp_path)
    assert built == [12, 12] and sorted(path.suffix for path in tmp_path.iterdir()) == [".arrow", ".xxh3"]


def test_what_killed_commands_left_in_the_cache_is_removed_after_a_day(
    examples: Dataset, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for name in ("tmpab_9xy7z", "tmp0123abcd", "tmp", "tmpab_9xy7z.txt", "temporary"):
        (tmp_path / name).touch()
        if name != "tmp0123abcd":  # another command writes that
            os.utime(tmp_path / name, (0, time.time() - 2 * 24 * 60 * 60))
    leave_half_written(f'a = staged_folder("{tmp_path}/features-of-others.arrow"); a.__enter__()')
    build_features(examples, bert_tokenizer, 128, 16, tmp_path)
    left = {path.name for path in tmp_path.iterdir() if ".arrow" not in path.suffixes}
    assert left == {"tmp0123abcd", "tmp", "tmpab_9xy7z.txt", "temporary"}


def test_the_key_follows_contents_alone(examples: Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    def key(examples: Dataset) -> str:
        return features_key(examples, tokenizer, 128, 16)

    reordered = examples.select_columns(list(reversed(examples.column_names)))
    assert key(reordered) == key(examples.with_format("numpy")) == key(examples)
    assert key(_other_answer(examples)) != key(examples)
    assert key(examples.select([1, 0])) != key(examples.select([0, 1]))


def spans_of(features: dict, row: int = 0) -> list[str]:
    """The gold spans of a feature as text; the empty text is [CLS]."""
    offsets = features["offset_mapping"][row]
    return [
        "" if offsets[first] is None else CONTEXT[offsets[first][0] : offsets[last][1]]
        for first, last in zip(features["gold_starts"][row], features["gold_ends"][row], strict=True)
    ]


def test_every_gold_answer_is_a_span_and_the_first_stays_the_label(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    features = features_of(bert_tokenizer, ["1443년", "조선의", SECOND])
    assert spans_of(features) == ["1443년", "조선의", "1443년"]
    assert features["gold_starts"][0][0] == features["start_positions"][0]
    assert features["gold_ends"][0][0] == features["end_positions"][0]
    assert features["gold_starts"][0][2] > features["gold_starts"][0][0]


def test_the_same_tokens_are_one_span(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    assert spans_of(features_of(bert_tokenizer, ["1443년", "조선의", "1443년"])) == ["1443년", "조선의"]
    # one word piece: both answers are that token
    assert spans_of(features_of(bert_tokenizer, ["조선", ("조", CONTEXT.index("조선"))])) == ["조선"]


def test_a_window_holds_the_spans_that_are_all_in_it(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    features = features_of(bert_tokenizer, ["조선의", SECOND], max_seq_len=36)
    windows = [spans_of(features, row) for row in range(len(features["length"]))]
    assert windows[0] == ["조선의"] and windows[-1] == ["1443년"] and len(windows) > 2
    assert [""] in windows  # in between
    labels = [start == cls for start, cls in zip(features["start_positions"], features["cls_index"], strict=True)]
    assert labels == [window != ["조선의"] for window in windows]  # the first gold answer alone


def test_no_answer_is_cls(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    features = features_of(bert_tokenizer, [])
    assert features["gold_starts"] == features["gold_ends"] == [features["cls_index"]] == [[0]]


# ---------------------------------------------------------------------------------------------------------- any text

_TEXT = st.text("조선의왕세종1443년 \t\n.,()《》·abA½é漢😀\u200b\u3000", max_size=80)


@settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data(), context=_TEXT, max_seq_len=st.integers(40, 60), stride_len=st.integers(1, 8))
def test_any_text_is_cut_as_the_tokenizer_cuts_it_and_labels_hold_the_answer(
    tokenizer: PreTrainedTokenizerFast, data: st.DataObject, context: str, max_seq_len: int, stride_len: int
) -> None:
    question = data.draw(st.text("조선의왕세종?", min_size=1, max_size=6))
    first = data.draw(st.integers(0, len(context)))
    answer = context[first : data.draw(st.integers(first, min(len(context), first + 12)))].strip()
    row = _example(context, answer or None, question)
    features = _features([row], tokenizer, max_seq_len, stride_len)
    options = {"truncation": "only_second", "max_length": max_seq_len, "stride": stride_len}
    encoded = tokenizer([question], [context], **options, return_overflowing_tokens=True)
    for name in tokenizer.model_input_names:
        assert [feature[name] for feature in features] == encoded[name]
    for feature in features:
        start, end = feature["start_positions"], feature["end_positions"]
        if answer and start:
            span = slice(feature["offset_mapping"][start][0], feature["offset_mapping"][end][1])
            assert answer in context[span]

"""Examples to features: overlapping windows of the context, with labels and character offsets.

Training, evaluation and prediction share this one builder, so that what is scored while training is what
``inference.py`` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import generate_random_fingerprint
from transformers import BatchEncoding, PreTrainedTokenizerBase

from loading.examples import hash_examples
from models.inputs import tokenize
from reading.nfc import ComposedText, compose
from reading.offsets import context_offsets
from reading.titles import TitleAt, with_titles
from reading.windows import Pool, Template, Windows
from runtime.checksums import fault_of_file, seal_file
from runtime.errors import UserError
from runtime.files import remove_leftovers, remove_old, scratch_folder
from runtime.hashing import hash_json
from runtime.locks import check_writable
from runtime.log import get_logger
from runtime.progress import map_bar
from runtime.text import inner_span, strip_blanks

logger = get_logger(__name__)

# Part of every cache key: raise it when the features of equal input change.
_FEATURES_VERSION = 5
_SMALLEST_WINDOW = 16
_EXAMPLES_AT_ONCE = 2560  # whose distinct texts are tokenised once
_OWN_COLUMNS = {
    "example_id": Value("string"),
    "example_index": Value("int64"),
    "length": Value("int64"),
    "offset_mapping": List(List(Value("int32"))),
    "answer_mask": List(Value("int8")),
    "cls_index": Value("int64"),
    "start_positions": Value("int64"),
    "end_positions": Value("int64"),
    "gold_starts": List(Value("int64")),
    "gold_ends": List(Value("int64")),
}
# A fast tokenizer remembers how it was called last; its tokens depend on the call, not on this memory.
_LEFT_BY_EARLIER_CALLS = {"truncation": None, "padding": None}


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, max_seq_len: int) -> None:
    """Raise :class:`UserError` if ``tokenizer`` gives no offsets or its model is shorter than ``max_seq_len``."""
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} is a slow one and gives no character offsets; "
            "use a model with a fast tokenizer (tokenizer.json)"
        )
    if max_seq_len > tokenizer.model_max_length:
        raise UserError(
            f"--max_seq_len {max_seq_len} is more than {tokenizer.name_or_path} can read "
            f"({tokenizer.model_max_length} tokens)"
        )


def make_features(
    examples: Mapping[str, Sequence[Any]],
    indices: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    max_seq_len: int,
    stride_len: int,
    title_prefix: bool = False,
) -> pa.Table:
    """Cut a batch of examples into features, one or more per example.

    With ``title_prefix`` what is read is ``title: context`` (see ``reading/titles.py``). A feature holds the model's
    inputs (``tokenizer.model_input_names``) and

    * ``example_id``, ``example_index``: id and row of its example; ``length``: its tokens;
    * ``offset_mapping``: per token ``[start, end)`` in the example's original context, ``None`` outside it and in
      titles;
    * ``answer_mask``: 1 where an answer may start or end, the context and the first (``[CLS]``) token;
    * ``cls_index``: where ``[CLS]`` is, the answer of a window without one;
    * ``start_positions``, ``end_positions``: first and last token of the first gold answer; both point at
      ``[CLS]`` when the window does not hold all of it or there is none;
    * ``gold_starts``, ``gold_ends``: the same of every gold answer that the window holds, each span once;
      ``[CLS]`` alone when it holds none.

    The label tokens are the ones that overlap the answer's characters, so they are exact also where a Korean
    sub-word fuses a particle or the space before it. They hold the whole answer, whatever letters the offsets of the
    tokenizer leave out (see ``reading/offsets.py``). Each question and each context is tokenised once, however many
    examples have it.
    """
    questions, question_of = _distinct([compose(strip_blanks(question)).text for question in examples["question"]])
    contexts, context_of = _distinct(_read_texts(examples) if title_prefix else examples["context"])
    contexts = [with_titles(*context) if title_prefix else compose(context) for context in contexts]
    question_ids = _question_ids(questions, tokenizer, question_budget(tokenizer, max_seq_len, stride_len))
    context_ids, offsets = _tokenize_contexts(contexts, tokenizer, title_prefix)
    template = Template.of(
        tokenizer,
        _shortest_with_tokens(questions, question_ids),
        _shortest_with_tokens([context.text for context in contexts], context_ids),
    )
    pool = Pool.of(template, question_ids, context_ids, offsets)
    windows = Windows.cut(pool, question_of, context_of, max_seq_len, stride_len)
    tokens, pieces = windows.pieces(pool, question_of)  # (all tokens,), (windows, 5)
    lengths = pieces.sum(axis=1)  # (windows,)
    borders = np.append(0, np.cumsum(lengths)).astype(np.int32)  # (windows + 1,)

    inputs = {"input_ids": pool.ids, "token_type_ids": pool.types, "attention_mask": np.ones_like(pool.ids)}
    columns = {name: _lists(borders, inputs[name][tokens]) for name in tokenizer.model_input_names if name in inputs}
    ids = examples.get("id") or list(map(str, indices))
    cls_index = _first_of(tokenizer.cls_token_id, pool.ids[tokens], borders)  # (windows,)
    inside = pool.starts[tokens] >= 0  # (all tokens,)
    answer_mask = inside.astype(np.int8)  # (all tokens,)
    answer_mask[borders[:-1] + cls_index] = 1
    spans = np.stack([pool.starts[tokens], pool.ends[tokens]], axis=1)[inside].ravel()  # (2 * tokens of contexts,)
    pairs = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(2 * inside)).astype(np.int32)), pa.array(spans), mask=pa.array(~inside)
    )
    before = pieces[:, :3].sum(axis=1)  # (windows,) tokens before the context's
    golds, labels = _labels(examples["answers"], pool, windows, context_of, before)
    nowhere = [[(index, index)] for index in cls_index.tolist()]
    golds = [found or none for found, none in zip(golds, nowhere, strict=True)]
    starts, ends = np.where(labels < 0, cls_index, labels)  # (windows,) each
    columns |= {
        "example_id": pa.array([ids[example] for example in windows.examples], pa.string()),
        "example_index": pa.array(np.asarray(indices, dtype=np.int64)[windows.examples]),
        "length": pa.array(lengths),
        "offset_mapping": pa.ListArray.from_arrays(borders, pairs),
        "answer_mask": _lists(borders, answer_mask),
        "cls_index": pa.array(cls_index),
        "start_positions": pa.array(starts),
        "end_positions": pa.array(ends),
        "gold_starts": pa.array([[first for first, _ in found] for found in golds]),
        "gold_ends": pa.array([[last for _, last in found] for found in golds]),
    }
    return pa.table(columns)


def question_budget(tokenizer: PreTrainedTokenizerBase, max_seq_len: int, stride_len: int) -> int:
    """Return the most tokens that a question has in a feature; :class:`UserError` if that is none."""
    budget = max_seq_len - tokenizer.num_special_tokens_to_add(pair=True) - stride_len - _SMALLEST_WINDOW
    if budget < 1:
        raise UserError(
            f"--max_seq_len {max_seq_len} leaves no room for a question beside --stride_len {stride_len}: "
            "raise the one or lower the other"
        )
    return budget


def build_features(
    examples: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_len: int,
    stride_len: int,
    cache_dir: str | Path | None = None,
    num_workers: int = 1,
    what: str = "features",
    title_prefix: bool = False,
) -> Dataset:
    """Return the features of all ``examples`` (see :func:`make_features`).

    With ``cache_dir`` they are read back when the same examples, tokenizer and lengths were seen before, and made again
    where a file is not as it was written; the key is made of their contents, never of names. Those of a tokenizer with
    parts in Python are not kept.
    """
    cache_file, is_kept = None, False
    key = None if cache_dir is None else features_key(examples, tokenizer, max_seq_len, stride_len, title_prefix)
    if cache_dir is not None and key is not None:
        check_writable(cache_dir, "--cache_dir")
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
        remove_leftovers(cache_dir)
        remove_old(Path(cache_dir).glob("tmp" + "[a-z0-9_]" * 8), days=1)  # of versions that let datasets write here
        cache_file = str(Path(cache_dir) / f"features-{key}.arrow")
        is_kept = _are_whole(sorted(Path(cache_dir).glob(f"features-{key}*.arrow")))  # of several workers, several
    parallel = num_workers > 1 and len(examples) > 1000
    with nullcontext() if parallel else map_bar(len(examples), what) as bar:
        made = partial(
            examples.map,
            make_features if bar is None else partial(_make_and_count, bar.update),
            batched=True,
            with_indices=True,
            batch_size=_EXAMPLES_AT_ONCE,
            remove_columns=examples.column_names,
            fn_kwargs={
                "tokenizer": tokenizer,
                "max_seq_len": max_seq_len,
                "stride_len": stride_len,
                "title_prefix": title_prefix,
            },
            features=_feature_types(tokenizer),
            num_proc=num_workers if parallel else None,
            keep_in_memory=cache_file is None,
            load_from_cache_file=cache_file is not None,
            new_fingerprint=key or generate_random_fingerprint(),
            desc=what,
        )
        if cache_file is not None and not is_kept:
            with scratch_folder(cache_file) as scratch:  # datasets would leave its temporary file when the disk is full
                made(cache_file_name=str(scratch / Path(cache_file).name))
                for path in scratch.iterdir():
                    seal_file(path.replace(Path(cache_file).with_name(path.name)))
        features = made(cache_file_name=cache_file)
    logger.info("%s: %d examples, %d features", what, len(examples), len(features))
    return features


def _are_whole(paths: Sequence[Path]) -> bool:
    """Whether there are kept features, and all are as they were written; if one is not, that is said."""
    for path in paths:
        if (fault := fault_of_file(path)) is not None:
            logger.warning("features %s are damaged and are made again: %s", path, fault)
            return False
    return bool(paths)


def example_ids(features: Any, rows: Iterable[int]) -> list[str]:
    """Return the ids of the examples ``rows`` (``example_index``); "row N" where ``features`` do not tell."""
    try:
        ids = dict(zip(features["example_index"], features["example_id"], strict=True))
    except (KeyError, ValueError):  # datasets raise either for a column that is not there
        ids = {}
    return [ids.get(row, f"row {row}") for row in rows]


def _make_and_count(
    count: Callable[[int], object], examples: Mapping[str, Sequence[Any]], indices: Sequence[int], **options: Any
) -> pa.Table:
    features = make_features(examples, indices, **options)
    count(len(indices))
    return features


def features_key(
    examples: Dataset, tokenizer: PreTrainedTokenizerBase, max_seq_len: int, stride_len: int, title_prefix: bool = False
) -> str | None:
    """Return the cache key of features: everything that changes them, by content.

    None for a tokenizer that is not all data, as with the Jieba of a RoFormer.
    """
    try:
        described = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # of no class of its own
        return None
    parts = {
        "version": _FEATURES_VERSION,
        "examples": hash_examples(examples),
        "tokenizer": described | _LEFT_BY_EARLIER_CALLS,
        "cls_token": tokenizer.cls_token,
        "inputs": list(tokenizer.model_input_names),
        "max_seq_len": max_seq_len,
        "stride_len": stride_len,
        "title_prefix": title_prefix,
    }
    return hash_json(parts)[:32]


def _distinct(values: Iterable[Any]) -> tuple[list[Any], np.ndarray]:
    """Return each of n ``values`` once, and which of these every one is: (n,)."""
    places: dict[Any, int] = {}
    which = [places.setdefault(value, len(places)) for value in values]
    return list(places), np.array(which, dtype=np.int64)


def _read_texts(examples: Mapping[str, Sequence[Any]]) -> list[tuple[str, tuple[TitleAt, ...]]]:
    """Return the contexts with the titles of their passages, or with the examples' own, to be put before them."""
    if "passages" in examples:
        titles = [tuple(TitleAt(passage["start"], passage["title"]) for passage in row) for row in examples["passages"]]
    else:
        titles = [(TitleAt(0, title),) for title in examples["title"]]
    return list(zip(examples["context"], titles, strict=True))


def _shortest_with_tokens(texts: Sequence[str], ids: Sequence[list[int]]) -> str:
    return min((text for text, tokens in zip(texts, ids, strict=True) if tokens), key=len, default="")


def _lists(borders: np.ndarray, values: np.ndarray) -> pa.ListArray:
    """Return the lists between ``borders`` (n + 1,) of ``values``: n."""
    return pa.ListArray.from_arrays(borders, pa.array(values))


def _first_of(value: int | None, values: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Return where between ``borders`` (n + 1,) of ``values`` the first ``value`` is, counted from each border: (n,).

    0 where there is none.
    """
    places = np.append(np.flatnonzero(values == value), len(values))  # (hits + 1,)
    first = places[np.searchsorted(places, borders[:-1])]  # (n,)
    return np.where(first < borders[1:], first - borders[:-1], 0)


def _feature_types(tokenizer: PreTrainedTokenizerBase) -> Features:
    inputs = {name: List(Value("int32")) for name in tokenizer.model_input_names}
    return Features(inputs | _OWN_COLUMNS)


def _tokenize_alone(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], offsets: bool = False) -> BatchEncoding:
    """Return the tokens of ``texts`` without those that a model is fed around them."""
    return tokenize(
        tokenizer,
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=offsets,
    )


def _question_ids(questions: list[str], tokenizer: PreTrainedTokenizerBase, budget: int) -> list[list[int]]:
    """Return the tokens of the questions; of those that would leave no room for their contexts the first ``budget``."""
    ids = _tokenize_alone(tokenizer, questions)["input_ids"]
    for row, question in enumerate(questions):
        if (tokens := len(ids[row])) > budget:
            logger.warning("a question of %d tokens was cut to its first %d: %s…", tokens, budget, question[:40])
            (offsets,) = _tokenize_alone(tokenizer, [question], offsets=True)["offset_mapping"]
            (ids[row],) = _tokenize_alone(tokenizer, [question[: offsets[budget - 1][1]]])["input_ids"]
    return ids


def _tokenize_contexts(
    contexts: Sequence[ComposedText], tokenizer: PreTrainedTokenizerBase, titled: bool
) -> tuple[list[list[int]], np.ndarray]:
    """Return the tokens of the contexts, and where they start and end in the original texts: (2, tokens of all).

    With ``titled`` those of titles, which stand for nothing, are nowhere: -1.
    """
    texts = [context.text for context in contexts]
    encoded = _tokenize_alone(tokenizer, texts, offsets=True)
    ids = encoded["input_ids"]
    offsets = context_offsets(encoded["offset_mapping"], texts, tokenizer.name_or_path)  # (2, tokens)
    borders = np.cumsum([0, *map(len, ids)])  # (contexts + 1,)
    for context, first, last in zip(contexts, borders, borders[1:], strict=False):
        offsets[:, first:last] = context.original_spans(*offsets[:, first:last])
    if titled:
        offsets[:, offsets[0] >= offsets[1]] = -1
    return ids, offsets


def _labels(
    answers: Sequence[Mapping[str, list[Any]]],
    pool: Pool,
    windows: Windows,
    context_of: np.ndarray,
    before: np.ndarray,
) -> tuple[list[list[tuple[int, int]]], np.ndarray]:
    """Return first and last token of the gold answers that are all in a window, each span once, for every window.

    And those of the first gold answer, (2, windows), -1 where a window does not hold it. ``context_of`` (examples,)
    are the examples' contexts, ``before`` (windows,) the tokens before the context's.
    """
    given = [
        (example, *(answer_start + edge for edge in inner_span(text, 0, len(text))))  # blanks may have no token
        for example, of_example in enumerate(answers)
        for text, answer_start in zip(of_example["text"], of_example["answer_start"], strict=True)
    ]
    example, start, end = np.array(given, dtype=np.int64).reshape(-1, 3).T  # (answers,) each
    labels = np.full((2, len(windows.examples)), -1)  # (2, windows)
    found: list[list[tuple[int, int]]] = [[] for _ in windows.examples]

    # Tokens of all contexts are searched at once: in the numbers, a context is apart from the one before it.
    context = pool.context_borders[0] + np.flatnonzero(pool.starts[pool.context_borders[0] :] >= 0)  # (known tokens,)
    apart = np.searchsorted(pool.context_borders, context, side="right").astype(np.int64) << 32  # (known tokens,)
    of_answer = (context_of[example] + 1) << 32  # (answers,)
    first = np.searchsorted(apart + pool.ends[context], of_answer + start, side="right")  # (answers,) ends behind start
    last = np.searchsorted(apart + pool.starts[context], of_answer + end) - 1  # (answers,) starts before end

    # every gold answer of every window: (pairs,)
    counts = np.bincount(example, minlength=len(context_of))[windows.examples]  # (windows,)
    window = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(window)) - np.repeat(np.cumsum(counts) - counts, counts)  # of its example's
    answer = np.searchsorted(example, windows.examples)[window] + number
    lowest, highest = (np.searchsorted(context, edge) for edge in (windows.first, windows.last))  # (windows,) each
    first, last = np.maximum(first[answer], lowest[window]), np.minimum(last[answer], highest[window] - 1)
    whole = np.flatnonzero(first <= last)  # (pairs that meet,)
    window, number, answer = window[whole], number[whole], answer[whole]
    first, last = context[first[whole]], context[last[whole]]
    whole = (pool.starts[first] <= start[answer]) & (end[answer] <= pool.ends[last])
    window, number = window[whole], number[whole]
    shift = (before - windows.first)[window]  # (pairs in their windows,)
    spans = np.stack([first[whole] + shift, last[whole] + shift])  # (2, pairs in their windows)
    labels[:, window[number == 0]] = spans[:, number == 0]
    for row, span in zip(window.tolist(), zip(*spans.tolist(), strict=True), strict=True):
        if span not in found[row]:
            found[row].append(span)
    return found, labels

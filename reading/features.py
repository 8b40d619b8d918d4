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
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import generate_random_fingerprint
from transformers import PreTrainedTokenizerBase

from loading.examples import hash_examples
from models.inputs import tokenize
from reading.nfc import ComposedText, compose
from reading.offsets import context_offsets
from reading.titles import TitleAt, with_titles
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
) -> dict[str, list[Any]]:
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
    tokenizer leave out (see ``reading/offsets.py``).
    """
    contexts = _read_texts(examples) if title_prefix else [compose(context) for context in examples["context"]]
    budget = question_budget(tokenizer, max_seq_len, stride_len)
    encoded = tokenize(
        tokenizer,
        _shorten([compose(strip_blanks(question)).text for question in examples["question"]], tokenizer, budget),
        [context.text for context in contexts],
        truncation="only_second",
        max_length=max_seq_len,
        stride=stride_len,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    features: dict[str, list[Any]] = {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
    features |= {name: [] for name in _OWN_COLUMNS}
    ids = examples.get("id") or list(map(str, indices))
    texts = [context.text for context in contexts]
    spans_of_rows = context_offsets(encoded, texts, stride_len, tokenizer.name_or_path)
    for row, sample in enumerate(encoded["overflow_to_sample_mapping"]):
        context = contexts[sample]
        offsets = [None if span is None else list(context.original_span(*span)) for span in spans_of_rows[row]]
        if title_prefix:
            offsets = [span if span and span[0] < span[1] else None for span in offsets]
        cls_index = _cls_index(encoded["input_ids"][row], tokenizer)
        nowhere = (cls_index, cls_index)
        spans = _gold_spans(offsets, examples["answers"][sample])
        found = list(dict.fromkeys(span for span in spans if span is not None)) or [nowhere]
        start, end = (spans[0] if spans else None) or nowhere
        features["example_id"].append(ids[sample])
        features["example_index"].append(indices[sample])
        features["length"].append(len(offsets))
        features["offset_mapping"].append(offsets)
        features["answer_mask"].append([int(span is not None or i == cls_index) for i, span in enumerate(offsets)])
        features["cls_index"].append(cls_index)
        features["start_positions"].append(start)
        features["end_positions"].append(end)
        features["gold_starts"].append([first for first, _ in found])
        features["gold_ends"].append([last for _, last in found])
    return features


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
    cache_file, key = None, generate_random_fingerprint()
    kept: list[str] = []
    if cache_dir is not None and _can_be_described(tokenizer):
        key = features_key(examples, tokenizer, max_seq_len, stride_len, title_prefix)
        check_writable(cache_dir, "--cache_dir")
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
        remove_leftovers(cache_dir)
        remove_old(Path(cache_dir).glob("tmp" + "[a-z0-9_]" * 8), days=1)  # of versions that let datasets write here
        cache_file = str(Path(cache_dir) / f"features-{key}.arrow")
        kept = _whole_files(sorted(Path(cache_dir).glob(f"features-{key}*.arrow")))  # of several workers, several
    parallel = num_workers > 1 and len(examples) > 1000
    with nullcontext() if parallel else map_bar(len(examples), what) as bar:
        made = partial(
            examples.map,
            make_features if bar is None else partial(_make_and_count, bar.update),
            batched=True,
            with_indices=True,
            batch_size=200,
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
            new_fingerprint=key,
            desc=what,
        )
        if cache_file is not None and not kept:
            with scratch_folder(cache_file) as scratch:  # datasets would leave its temporary file when the disk is full
                made(cache_file_name=str(scratch / Path(cache_file).name))
                for path in scratch.iterdir():
                    seal_file(path.replace(Path(cache_file).with_name(path.name)))
        features = made(cache_file_name=cache_file)
    logger.info("%s: %d examples, %d features", what, len(examples), len(features))
    return features


def _whole_files(paths: list[Path]) -> list[str]:
    """Return the ``paths`` of kept features; none, which is said, where one is not as it was written."""
    for path in paths:
        if (fault := fault_of_file(path)) is not None:
            logger.warning("features %s are damaged and are made again: %s", path, fault)
            return []
    return [str(path) for path in paths]


def example_ids(features: Any, rows: Iterable[int]) -> list[str]:
    """Return the ids of the examples ``rows`` (``example_index``); "row N" where ``features`` do not tell."""
    try:
        ids = dict(zip(features["example_index"], features["example_id"], strict=True))
    except (KeyError, ValueError):  # datasets raise either for a column that is not there
        ids = {}
    return [ids.get(row, f"row {row}") for row in rows]


def _make_and_count(
    count: Callable[[int], object], examples: Mapping[str, Sequence[Any]], indices: Sequence[int], **options: Any
) -> dict[str, list[Any]]:
    features = make_features(examples, indices, **options)
    count(len(indices))
    return features


def features_key(
    examples: Dataset, tokenizer: PreTrainedTokenizerBase, max_seq_len: int, stride_len: int, title_prefix: bool = False
) -> str:
    """Return the cache key of features: everything that changes them, by content."""
    parts = {
        "version": _FEATURES_VERSION,
        "examples": hash_examples(examples),
        "tokenizer": json.loads(tokenizer.backend_tokenizer.to_str()) | _LEFT_BY_EARLIER_CALLS,
        "cls_token": tokenizer.cls_token,
        "inputs": list(tokenizer.model_input_names),
        "max_seq_len": max_seq_len,
        "stride_len": stride_len,
        "title_prefix": title_prefix,
    }
    return hash_json(parts)[:32]


def _can_be_described(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether all of ``tokenizer`` is data, which the Jieba of a RoFormer is not."""
    try:
        tokenizer.backend_tokenizer.to_str()
    except Exception:  # of no class of its own
        return False
    return True


def _read_texts(examples: Mapping[str, Sequence[Any]]) -> list[ComposedText]:
    """Return the contexts with the titles of their passages, or with the examples' own, before them."""
    if "passages" in examples:
        titles = [[TitleAt(passage["start"], passage["title"]) for passage in row] for row in examples["passages"]]
    else:
        titles = [[TitleAt(0, title)] for title in examples["title"]]
    return [with_titles(*pair) for pair in zip(examples["context"], titles, strict=True)]


def _feature_types(tokenizer: PreTrainedTokenizerBase) -> Features:
    inputs = {name: List(Value("int32")) for name in tokenizer.model_input_names}
    return Features(inputs | _OWN_COLUMNS)


def _shorten(questions: list[str], tokenizer: PreTrainedTokenizerBase, budget: int) -> list[str]:
    """Cut questions that would leave no room for their contexts to ``budget`` tokens."""
    encoded = tokenize(tokenizer, questions, add_special_tokens=False, return_offsets_mapping=True)
    shortened = []
    for question, offsets in zip(questions, encoded["offset_mapping"], strict=True):
        if len(offsets) > budget:
            logger.warning("a question of %d tokens was cut to its first %d: %s…", len(offsets), budget, question[:40])
            question = question[: offsets[budget - 1][1]]
        shortened.append(question)
    return shortened


def _cls_index(input_ids: list[int], tokenizer: PreTrainedTokenizerBase) -> int:
    return input_ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in input_ids else 0


def _gold_spans(offsets: list[list[int] | None], answers: Mapping[str, list[Any]]) -> list[tuple[int, int] | None]:
    """Return first and last token of every gold answer, ``None`` for those that are not all in the window."""
    inside_context = {index: span for index, span in enumerate(offsets) if span is not None}
    if not inside_context:
        return [None] * len(answers["text"])
    tokens = list(inside_context)
    starts, ends = np.array(list(inside_context.values())).T  # (context tokens,) each
    spans: list[tuple[int, int] | None] = []
    for text, answer_start in zip(answers["text"], answers["answer_start"], strict=True):
        start, end = (answer_start + edge for edge in inner_span(text, 0, len(text)))  # blanks may have no token
        first = int(np.searchsorted(ends, start, side="right"))  # first token that ends after the answer starts
        last = int(np.searchsorted(starts, end, side="left")) - 1  # last token that starts before it ends
        inside = first <= last and starts[first] <= start and end <= ends[last]
        spans.append((tokens[first], tokens[last]) if inside else None)
    return spans

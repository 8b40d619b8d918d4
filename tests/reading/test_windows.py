"""Windows: pieces of a pool of tokens, cut where the tokenizers library cuts them."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from reading.windows import Pool, Template, Windows, count_windows


def test_the_template_is_what_a_tokenizer_puts_around_a_pair(
    bert_tokenizer: PreTrainedTokenizerFast, roberta_tokenizer: PreTrainedTokenizerFast
) -> None:
    cls, sep = bert_tokenizer.cls_token_id, bert_tokenizer.sep_token_id
    ids, types, *rest = Template.of(bert_tokenizer, "세종", "부산")
    assert (ids.tolist(), types.tolist(), *rest) == ([cls, sep, sep], [0, 0, 1], (1, 2), (0, 1))
    cls, sep = roberta_tokenizer.cls_token_id, roberta_tokenizer.sep_token_id
    ids, types, *rest = Template.of(roberta_tokenizer, "세종", "부산")
    assert (ids.tolist(), types.tolist(), *rest) == ([cls, sep, sep, sep], [0, 0, 0, 0], (1, 3), (0, 0))


@pytest.mark.parametrize(("room", "stride_len"), [(5, 0), (5, 2), (7, 4), (40, 8)])
def test_windows_hold_all_of_a_context_and_share_the_stride(room: int, stride_len: int) -> None:
    template = Template(np.array([1, 2, 3]), np.array([0, 0, 1]), (1, 2), (0, 1))
    contexts = [list(range(100, 100 + length)) for length in (0, 1, room - 1, room, room + 1, 38)]
    borders = np.cumsum([0, *map(len, contexts)])
    offsets = np.stack([np.arange(borders[-1]), np.arange(borders[-1]) + 1])
    pool = Pool.of(template, [[50, 51], [60, 61]], contexts, offsets)
    questions, read = np.array([0, 1, 1, 0, 1, 0]), np.arange(6)
    windows = Windows.cut(pool, questions, read, 3 + 2 + room, stride_len)
    tokens, pieces = windows.pieces(pool, questions)
    features = np.split(pool.ids[tokens].tolist(), np.cumsum(pieces.sum(axis=1))[:-1])
    counts = count_windows(np.diff(borders), np.array([room] * 6), stride_len)
    assert np.bincount(windows.examples).tolist() == counts.tolist()
    for example, context in enumerate(contexts):
        of_example = [features[row].tolist() for row in np.flatnonzero(windows.examples == example)]
        question = [60, 61] if questions[example] else [50, 51]
        assert all(row[:4] == [1, *question, 2] and row[-1] == 3 for row in of_example)
        parts = [row[4:-1] for row in of_example]
        assert {len(part) for part in parts[:-1]} <= {room} and len(parts[-1]) <= room
        assert parts[0] + [token for part in parts[1:] for token in part[stride_len:]] == context
    types = pool.types[tokens][: len(features[0])]
    assert types.tolist() == [0, 0, 0, 0, 1]

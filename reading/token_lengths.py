"""How long examples are in tokens, and what windows and answers of some length do to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from reading.features import make_features, question_budget
from reading.windows import count_windows as windows_of_lengths
from runtime.progress import progress_bar

_AT_ONCE = 200  # examples
_WHOLE = 2**30  # tokens: no context is longer
_USUAL_STRIDE = 128
_SHARE = 0.95  # of examples that should be one window
_ANSWERS = 0.995  # of answers that should be no longer than max_ans_len


class TokenLengths(NamedTuple):
    """Tokens of the questions and contexts of n examples, and where their g gold answers are in the contexts.

    Answers whose tokens cannot be told are none of the g; ``answerable`` says which examples have any.
    """

    questions: np.ndarray  # (n,)
    contexts: np.ndarray  # (n,)
    answerable: np.ndarray  # (n,) boolean
    gold_rows: np.ndarray  # (g,) of the n
    gold_first: np.ndarray  # (g,)
    gold_last: np.ndarray  # (g,)

    @property
    def answers(self) -> np.ndarray:
        """Tokens of every gold answer: (g,)."""
        return self.gold_last - self.gold_first + 1

    def rows_without(self, good: np.ndarray) -> np.ndarray:
        """Return which answerable examples have none of the ``good`` gold answers, boolean (g,): boolean (n,)."""
        have = np.zeros(len(self.questions), dtype=bool)  # (n,)
        have[self.gold_rows[good]] = True
        return self.answerable & ~have


class Settings(NamedTuple):
    """The flags that decide how examples are cut and how long an answer may be."""

    max_seq_len: int
    stride_len: int
    max_ans_len: int


def measure(examples: Dataset, tokenizer: PreTrainedTokenizerBase, what: str = "measuring") -> TokenLengths:
    """Return the lengths of ``examples``, each cut as one window; ``what`` names the progress bar."""
    special = tokenizer.num_special_tokens_to_add(pair=True)
    questions, contexts, gold = [], [], []
    starts = range(0, len(examples), _AT_ONCE)
    for start in progress_bar(starts, desc=what, unit="batch", leave=False, delay=1):
        rows = range(start, min(start + _AT_ONCE, len(examples)))
        features = make_features(examples[start : start + _AT_ONCE], rows, tokenizer, _WHOLE, 0).to_pydict()
        for row, offsets, none, firsts, lasts in zip(
            rows,
            *(features[name] for name in ("offset_mapping", "cls_index", "gold_starts", "gold_ends")),
            strict=True,
        ):
            inside = [token for token, span in enumerate(offsets) if span is not None]
            questions.append(len(offsets) - len(inside) - special)
            contexts.append(len(inside))
            gold += [
                (row, first - inside[0], last - inside[0])
                for first, last in zip(firsts, lasts, strict=True)
                if first != none
            ]
    answerable = np.array([bool(answers["text"]) for answers in examples["answers"]], dtype=bool)  # (n,)
    gold_columns = np.array(gold, dtype=np.int64).reshape(-1, 3).T  # (g, 3) -> (3, g)
    return TokenLengths(np.array(questions), np.array(contexts), answerable, *gold_columns)


def count_windows(
    lengths: TokenLengths, tokenizer: PreTrainedTokenizerBase, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many windows each example is cut into, (n,), and whether its gold answers are in none, boolean (n,).

    It counts those that :func:`reading.features.make_features` cuts. Raises :class:`UserError` as that does.
    """
    max_seq_len, stride_len, _ = settings
    budget = question_budget(tokenizer, max_seq_len, stride_len)
    special = tokenizer.num_special_tokens_to_add(pair=True)
    room = max_seq_len - special - np.minimum(lengths.questions, budget)  # (n,) tokens of a context in a window
    step = room - stride_len  # (n,)
    windows = windows_of_lengths(lengths.contexts, room, stride_len)  # (n,)
    # of the windows with the first token of an answer, the last reaches furthest: to the end, if there is none later
    rows = lengths.gold_rows
    start = lengths.gold_first // step[rows] * step[rows]  # (g,)
    whole = lengths.gold_last < start + room[rows]  # (g,)
    return windows, lengths.rows_without(whole)


def too_long(lengths: TokenLengths, settings: Settings) -> np.ndarray:
    """Return which answerable examples have gold answers of more than ``max_ans_len`` tokens alone: boolean (n,)."""
    return lengths.rows_without(lengths.answers <= settings.max_ans_len)


def suggest(splits: Sequence[TokenLengths], tokenizer: PreTrainedTokenizerBase, longest: int) -> Settings:
    """Return settings that suit these examples: at most ``longest`` tokens a window, and stride_len at most half of it.

    In one window are 95 % of the examples, if that can be, and windows share as much as the longest answer needs, and
    what they usually share at least. 99.5 % of the answers are no longer than max_ans_len.
    """
    special = tokenizer.num_special_tokens_to_add(pair=True)
    whole = np.concatenate([lengths.questions + lengths.contexts + special for lengths in splits])  # (n,)
    answers = np.concatenate([lengths.answers for lengths in splits])  # (g,)
    most = [
        int(np.quantile(values, share, method="higher")) if len(values) else 1
        for values, share in ((whole, _SHARE), (answers, _ANSWERS), (answers, 1))
    ]
    max_seq_len = min(max(_rounded(most[0], 64), 128), longest)
    stride_len = min(max(_rounded(most[2], 32), _USUAL_STRIDE), max_seq_len // 2)
    return Settings(max_seq_len, stride_len, max(_rounded(most[1], 5), 10))


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple

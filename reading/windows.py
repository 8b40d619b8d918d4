"""Windows: features are put together from texts that were tokenised once, whatever they are read with.

The tokens of all texts lie side by side in a pool; a feature is five pieces of it: what the tokenizer puts first, the
question, what it puts between, tokens of the context, and what it puts last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from models.inputs import tokenize

_PIECES = 5


class Template(NamedTuple):
    """What a tokenizer puts around a question and its context.

    ``ids`` and ``types`` (tokens,) are the special tokens and their segments, ``cuts`` how many come before question
    and context, ``text_types`` the segments of question and context.
    """

    ids: np.ndarray
    types: np.ndarray
    cuts: tuple[int, int]
    text_types: tuple[int, int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, question: str, context: str) -> Template:
        """Return the template of ``tokenizer``, seen in a ``question`` and a ``context`` of a token or more.

        Texts without a token will do where there are no others.
        """
        encoded = tokenize(tokenizer, [question], [context], return_token_type_ids=True)
        belongs = np.array([-1 if sequence is None else sequence for sequence in encoded.sequence_ids(0)])  # (tokens,)
        ids, types = (np.array(encoded[name][0]) for name in ("input_ids", "token_type_ids"))  # (tokens,) each
        special = belongs == -1  # (tokens,)
        cuts, text_types = [], []
        for sequence in (0, 1):
            places = np.flatnonzero(belongs == sequence)  # (tokens of the text,)
            cuts.append(int(special[: places[0]].sum()) if len(places) else 0)
            text_types.append(int(types[places[0]]) if len(places) else 0)
        return cls(ids[special], types[special], (cuts[0], max(cuts)), (text_types[0], text_types[1]))


class Pool(NamedTuple):
    """Tokens of a template, of questions and of contexts, side by side.

    ``ids``, ``types``, ``starts`` and ``ends`` are (tokens,): piece, segment, and the characters of the context that
    the token stands for, -1 outside of contexts and in titles. Where questions and contexts begin is in
    ``question_borders`` (questions + 1,) and ``context_borders`` (contexts + 1,).
    """

    ids: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    question_borders: np.ndarray
    context_borders: np.ndarray
    cuts: tuple[int, int]

    @classmethod
    def of(
        cls, template: Template, questions: Sequence[list[int]], contexts: Sequence[list[int]], offsets: np.ndarray
    ) -> Pool:
        """Return the pool of token ids; ``offsets`` (2, tokens of all contexts) are their starts and ends."""
        special = len(template.ids)
        question_borders = special + np.cumsum([0, *map(len, questions)])  # (questions + 1,)
        context_borders = question_borders[-1] + np.cumsum([0, *map(len, contexts)])  # (contexts + 1,)
        size = int(context_borders[-1])
        ids, types, starts, ends = np.full((4, size), -1, dtype=np.int32)  # (tokens,) each
        ids[:special], types[:special] = template.ids, template.types
        ids[special:] = np.fromiter(chain(*questions, *contexts), dtype=np.int32, count=size - special)
        types[special : question_borders[-1]], types[question_borders[-1] :] = template.text_types
        starts[question_borders[-1] :], ends[question_borders[-1] :] = offsets
        return cls(ids, types, starts, ends, question_borders, context_borders, template.cuts)


class Windows(NamedTuple):
    """The windows of examples, in order, (windows,) each: the example, and its context's tokens in the pool."""

    examples: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def cut(cls, pool: Pool, questions: np.ndarray, contexts: np.ndarray, max_seq_len: int, stride_len: int) -> Windows:
        """Cut examples that read these ``questions`` and ``contexts``, (examples,) each, into windows.

        A window has at most ``max_seq_len`` tokens, and shares ``stride_len`` of its context with the one before.
        """
        room = max_seq_len - pool.question_borders[0] - np.diff(pool.question_borders)[questions]  # (examples,)
        step = room - stride_len  # (examples,)
        counts = count_windows(np.diff(pool.context_borders)[contexts], room, stride_len)  # (examples,)
        examples = np.repeat(np.arange(len(counts)), counts)  # (windows,)
        number = np.arange(len(examples)) - np.repeat(np.cumsum(counts) - counts, counts)  # (windows,) in its example
        first = pool.context_borders[contexts[examples]] + number * step[examples]  # (windows,)
        last = np.minimum(first + room[examples], pool.context_borders[contexts[examples] + 1])  # (windows,)
        return cls(examples, first, last)

    def pieces(self, pool: Pool, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of the pool that the windows are made of, one after the other, and how many each has.

        Shapes: (tokens of all windows,), and (windows, 5) for the pieces of a window.
        """
        asked = questions[self.examples]  # (windows,)
        edges = np.zeros((2, len(asked), _PIECES), dtype=np.int64)
        edges[1, :, 0], edges[0, :, 2] = pool.cuts[0], pool.cuts[0]
        edges[:, :, 1] = pool.question_borders[asked], pool.question_borders[asked + 1]
        edges[1, :, 2], edges[0, :, 4] = pool.cuts[1], pool.cuts[1]
        edges[:, :, 3] = self.first, self.last
        edges[1, :, 4] = pool.question_borders[0]
        begins, counts = edges[0].ravel(), (edges[1] - edges[0]).ravel()  # (windows * 5,) each
        tokens = np.arange(counts.sum()) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        return tokens, counts.reshape(-1, _PIECES)


def count_windows(contexts: np.ndarray, room: np.ndarray, stride_len: int) -> np.ndarray:
    """Return how many windows contexts of so many tokens are cut into, where a window has ``room``: (n,) each."""
    return 1 + np.maximum(-(-(contexts - room) // (room - stride_len)), 0)

"""Which characters a token stands for: the tokenizer's offsets, completed from the text.

Some tokenizers lose letters: trimmed offsets of byte-level pieces begin a letter late where something before them
splits words, normalisers that shorten a text leave the rest out, and a vocabulary without unknown token drops what it
does not hold. Labels would miss these letters, and answers would be read off without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np

from runtime.errors import UserError
from runtime.text import inner_span, is_blank

Span = tuple[int, int]


def context_offsets(offsets: Sequence[Sequence[Span]], contexts: Sequence[str], tokenizer: str) -> np.ndarray:
    """Return where in its context every token of every context starts and ends: (2, tokens of all contexts).

    ``offsets`` are what the tokenizer says. Raises :class:`UserError` if those of ``tokenizer``, its name, cannot be
    meant for a text with so many tokens.
    """
    counts = np.array([len(spans) for spans in offsets], dtype=np.int64)  # (contexts,)
    edges = chain.from_iterable(chain.from_iterable(offsets))
    starts, ends = completed = np.fromiter(edges, dtype=np.int64, count=2 * counts.sum()).reshape(-1, 2).T.copy()
    borders = np.append(0, np.cumsum(counts))  # (contexts + 1,)
    reached = sum(ends[first:last].max(initial=0) for first, last in pairwise(borders))
    if len(ends) > max(100, 10 * reached):  # a syllable may be three tokens
        raise UserError(
            f"the tokenizer of {tokenizer} does not say where in the text its tokens are, so answers can neither be "
            "labelled nor read off: use another model"
        )
    for spans, text, (first, last) in zip(offsets, contexts, pairwise(borders), strict=True):
        if not _are_complete(starts[first:last], ends[first:last], text):
            completed[:, first:last] = np.transpose(complete(spans, text))  # (tokens of the context, 2) -> (2, tokens)
    return completed


def _are_complete(starts: np.ndarray, ends: np.ndarray, text: str) -> bool:
    """Whether :func:`complete` would change nothing; this is seen much faster than that is done."""
    if not len(starts):
        return True
    if (starts[1:] < starts[:-1]).any() or (ends[1:] < ends[:-1]).any() or (starts > ends).any():
        return False
    gaps = np.flatnonzero(starts[1:] > ends[:-1])
    between = [text[end:start] for end, start in zip(ends[gaps].tolist(), starts[gaps + 1].tolist(), strict=True)]
    return is_blank("".join([text[: starts[0]], *between, text[ends[-1] :]]))


def complete(tokens: Sequence[Span], text: str) -> list[Span]:
    """Return the offsets of the ``tokens`` of ``text``, so that each character that can be seen is in a token.

    Letters without a token go to the next one, or to the one before if they touch that alone. Starts and ends never
    go back, so that the first token that ends behind a character holds it.
    """
    spans: list[list[int]] = []
    reach = 0  # every character before it that can be seen has its token
    for start, end in tokens:
        if reach < start and not is_blank(text[reach:start]):
            blank = next((index for index in range(reach, start) if is_blank(text[index])), start)
            if spans and reach < blank < start:
                spans[-1][1] = reach = blank
            start = inner_span(text, reach, start)[0]
        start, end = max(start, spans[-1][0] if spans else 0), max(end, reach)
        spans.append([start, end])
        reach = end
    if spans and not is_blank(text[reach:]):
        spans[-1][1] = inner_span(text, reach, len(text))[1]
    return [(start, end) for start, end in spans]

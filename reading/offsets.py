"""Which characters a token stands for: the tokenizer's offsets, completed from the text.

Some tokenizers lose letters: trimmed offsets of byte-level pieces begin a letter late where something before them
splits words, normalisers that shorten a text leave the rest out, and a vocabulary without unknown token drops what it
does not hold. Labels would miss these letters, and answers would be read off without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from transformers import BatchEncoding

from runtime.errors import UserError
from runtime.text import inner_span, is_blank

Span = tuple[int, int]


def context_offsets(
    encoded: BatchEncoding, contexts: Sequence[str], stride_len: int, tokenizer: str
) -> list[list[Span | None]]:
    """Return ``[start, end)`` in its context for every token of every window, None for tokens outside the context.

    ``encoded`` holds pairs whose second text is a context, cut into windows that share ``stride_len`` tokens. Raises
    :class:`UserError` if the offsets of ``tokenizer``, its name, cannot be meant for a text with so many tokens.
    """
    sequences = [encoded.sequence_ids(row) for row in range(len(encoded["input_ids"]))]
    windows = [
        [span for span, sequence in zip(*row, strict=True) if sequence == 1]
        for row in zip(encoded["offset_mapping"], sequences, strict=True)
    ]
    samples = encoded["overflow_to_sample_mapping"]
    completed: list[list[Span]] = []
    tokens = reached = 0
    for sample, rows in groupby(range(len(windows)), key=samples.__getitem__):
        of_sample = [windows[row] for row in rows]
        completed += complete(of_sample, contexts[sample], stride_len)
        tokens += sum(map(len, of_sample)) - stride_len * (len(of_sample) - 1)
        reached += max((end for window in of_sample for _, end in window), default=0)
    if tokens > max(100, 10 * reached):  # a syllable may be three tokens
        raise UserError(
            f"the tokenizer of {tokenizer} does not say where in the text its tokens are, so answers can neither be "
            "labelled nor read off: use another model"
        )
    offsets = []
    for sequence_ids, window in zip(sequences, completed, strict=True):
        spans = iter(window)
        offsets.append([next(spans) if sequence == 1 else None for sequence in sequence_ids])
    return offsets


def complete(windows: Sequence[Sequence[Span]], text: str, stride_len: int) -> list[list[Span]]:
    """Return the offsets of all ``windows`` of ``text``, so that each character that can be seen is in a token.

    Letters without a token go to the next one, or to the one before if they touch that alone. Starts and ends never
    go back, so that the first token that ends behind a character holds it.
    """
    tokens = [*windows[0], *(span for window in windows[1:] for span in window[stride_len:])]
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
    completed, first = [], 0
    for window in windows:
        completed.append([(start, end) for start, end in spans[first : first + len(window)]])
        first += len(window) - stride_len
    return completed

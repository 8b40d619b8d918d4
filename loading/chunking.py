"""Documents become chunks: passages of some sentences, words or tokens, which may overlap.

A chunk keeps its document's id and title, and says where in the document's text it starts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from loading.corpus import Corpus
from runtime.text import inner_span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNITS = ("none", "sentences", "words", "tokens")

_AT_ONCE = 1000  # documents that are tokenised together
_WORD = re.compile(r"\S+")
# A line ends a sentence, and so does a mark before a blank, but not after a single character: "J. R.", "1. 개요".
_SENTENCE_END = re.compile(
    r"""(?:(?<=\w\w)|(?<=\w[)\]」』"'”’]))(?:[.!?…]+|[。！？])["'”’」』)\]]*(?=\s)|[。！？]|\n"""
)


class Chunking(NamedTuple):
    """How documents are cut: into chunks of at most ``size`` units, the last ``overlap`` of which the next repeats.

    ``unit`` is one of :data:`UNITS`; ``tokenizer``, a fast one, counts tokens. Chunks of tokens end between words, and
    so does one word of more tokens than a chunk may have.
    """

    unit: str
    size: int
    overlap: int = 0
    tokenizer: PreTrainedTokenizerBase | None = None


def chunk_corpus(corpus: Corpus, chunking: Chunking) -> Corpus:
    """Return ``corpus`` with its documents cut; one that fits in a chunk stays as it is."""
    ids: list[str] = []
    titles: list[str] = []
    texts: list[str] = []
    starts: list[int] = []
    documents = zip(corpus.document_ids, corpus.titles, corpus.texts, _pieces(corpus.texts, chunking), strict=True)
    for document_id, title, text, (spans, weights) in documents:
        for start, end in _chunks(text, spans, weights, chunking):
            ids.append(document_id)
            titles.append(title)
            texts.append(text[start:end])
            starts.append(start)
    return replace(corpus, document_ids=ids, titles=titles, texts=texts, starts=starts)


def _chunks(
    text: str, spans: Sequence[tuple[int, int]], weights: Sequence[int], chunking: Chunking
) -> Iterator[tuple[int, int]]:
    """Yield where the chunks of ``text`` start and end; ``spans`` are its words or sentences."""
    total = [0, *accumulate(weights)]  # of the units before each piece
    if total[-1] <= chunking.size or len(spans) < 2:
        yield 0, len(text)
        return
    first = 0
    while first < len(spans):
        last = max(bisect_right(total, total[first] + chunking.size) - 1, first + 1)  # the piece after the chunk
        yield spans[first][0], spans[last - 1][1]
        if last == len(spans):
            return
        first, before = last, first
        while (  # the next chunk has room for the piece after this one
            first - 1 > before
            and total[last] - total[first - 1] <= chunking.overlap
            and total[last + 1] - total[first - 1] <= chunking.size
        ):
            first -= 1


def _pieces(texts: Sequence[str], chunking: Chunking) -> Iterator[tuple[list[tuple[int, int]], Sequence[int]]]:
    """Yield the spans of every text that are not cut, and how many units each is worth."""
    if chunking.unit != "tokens":
        cut = sentence_spans if chunking.unit == "sentences" else _word_spans
        for text in texts:
            spans = cut(text)
            yield spans, [1] * len(spans)
        return
    for start in range(0, len(texts), _AT_ONCE):
        block = list(texts[start : start + _AT_ONCE])
        encoded = chunking.tokenizer(  # type: ignore[misc]
            block, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        for text, offsets in zip(block, encoded["offset_mapping"], strict=True):
            spans = _word_spans(text)
            begins = [begin for begin, _ in spans]
            weights = [0] * len(spans)
            for begin, end in offsets:
                if end > begin and spans:  # a token may carry the blank before its word
                    weights[max(0, bisect_right(begins, end - 1) - 1)] += 1
            yield spans, weights


def _word_spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WORD.finditer(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of ``text`` start and end, without the blanks around them.

    By punctuation and lines alone, so that the same text gives the same chunks with every version of everything.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    spans = [inner_span(text, start, end) for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    return [(start, end) for start, end in spans if start < end]

"""Chunks cover their document, keep to their size, and say where they start."""

from __future__ import annotations

import random

import pytest
from tiny_data import PASSAGES

from loading.chunking import Chunking, chunk_corpus, sentence_spans
from loading.corpus import Corpus

TEXTS = [text for _, text in PASSAGES] + ["짧다.", " 가\n\n나 다.  라 ", "가" * 300 + " 나 " + "다" * 300]
CORPUS = Corpus([f"d{row}" for row in range(len(TEXTS))], ["제목"] * len(TEXTS), TEXTS, {"x": "d0"})


def units(text, unit, tokenizer):
    if unit == "words":
        return len(text.split())
    if unit == "sentences":
        return len(sentence_spans(text))
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("unit", ["words", "sentences", "tokens"])
@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (3, 1), (7, 6), (20, 5), (10_000, 0)])
@pytest.mark.parametrize("kind", ["bert_tokenizer", "roberta_tokenizer"])
def test_chunks_cover_their_documents_and_keep_to_their_size(unit, size, overlap, kind, request):
    tokenizer = request.getfixturevalue(kind) if unit == "tokens" else None
    chunked = chunk_corpus(CORPUS, Chunking(unit, size, overlap, tokenizer))
    assert chunked.also_known_as == CORPUS.also_known_as and set(chunked.titles) == {"제목"}
    assert list(dict.fromkeys(chunked.document_ids)) == CORPUS.document_ids  # in order, together
    names = chunked.passage_names(range(len(chunked)))
    assert len(set(names)) == len(names)
    for document_id, text in zip(CORPUS.document_ids, TEXTS, strict=True):
        rows = [row for row, name in enumerate(chunked.document_ids) if name == document_id]
        covered = [False] * len(text)
        for row in rows:
            start, part = chunked.starts[row], chunked.texts[row]
            assert text[start : start + len(part)] == part  # the place is true
            assert units(part, unit, tokenizer) <= size or len(part.split()) == 1
            covered[start : start + len(part)] = [True] * len(part)
        assert all(seen or character.isspace() for seen, character in zip(covered, text, strict=True))
        for row in rows[1:]:  # what two share is no more than asked for
            end = chunked.starts[row - 1] + len(chunked.texts[row - 1])
            assert units(text[chunked.starts[row] : end], unit, tokenizer) <= overlap
            assert end < chunked.starts[row] + len(chunked.texts[row])  # and each brings something new
        if units(text, unit, tokenizer) <= size:
            assert [chunked.texts[row] for row in rows] == [text]


def test_words_are_cut_as_an_equation_says():
    words = [f"말{number}" for number in range(23)]
    chunked = chunk_corpus(Corpus(["1"], [""], ["  ".join(words)]), Chunking("words", 5, 2))
    expected = [words[start : start + 5] for start in range(0, 21, 3)]
    assert [text.split() for text in chunked.texts] == expected


def test_no_word_is_cut_by_tokens(bert_tokenizer):
    chunked = chunk_corpus(CORPUS, Chunking("tokens", 4, 0, bert_tokenizer))
    words = {word for text in TEXTS for word in text.split()}
    assert {word for text in chunked.texts for word in text.split()} <= words


def test_chunks_of_a_document_do_not_depend_on_the_others():
    order = list(range(len(TEXTS)))
    random.Random(0).shuffle(order)
    shuffled = Corpus([CORPUS.document_ids[row] for row in order], ["제목"] * len(TEXTS), [TEXTS[row] for row in order])

    def named(corpus):
        chunked = chunk_corpus(corpus, Chunking("words", 4, 1))
        return set(zip(chunked.passage_names(range(len(chunked))), chunked.texts, strict=True))

    assert named(shuffled) == named(CORPUS)


@pytest.mark.parametrize(
    "sentences",
    [
        ["한강은 길다.", "달은 둥글다!", "별은?", "끝"],
        ["높이는 2744.5m이다.", "J. R. 톨킨은 썼다.", "1. 개요이다."],
        ['그는 "간다."', "(그리고 왔다.)", "「좋다.」", "끝이다…", "그렇다"],
        ["日本。", "中国。"],
    ],
)
def test_sentences(sentences):
    for text in (" ".join(sentences), "\n".join(sentences)):
        assert [text[start:end] for start, end in sentence_spans(text)] == sentences
    assert sentence_spans("첫 줄\n\n둘째 줄") == [(0, 3), (5, 9)]

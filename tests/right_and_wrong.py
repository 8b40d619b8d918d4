"""Passages that are right in some other form, and wrong ones, for tests of what models of retrieval are trained on."""

from __future__ import annotations

import unicodedata

from loading.corpus import Corpus
from loading.retrieval_examples import Passage, RetrievalExample

POSITIVE, OTHER = Passage("세종", "세종은 조선의 4대 왕이다.", "1"), Passage("", "ＫＢＳ는 1927년에 문을 열었다.")
NONE_BUT_RIGHT = [
    Passage("다른 제목", "  세종은 조선의\n4대 왕이다.\u200b"),
    Passage("세종", "세종은조선의4대왕이다."),
    Passage("세종", unicodedata.normalize("NFD", "세종은 조선의 4대 왕이다.")),
    Passage("", "KBS는 １９２７년에 문을 열었다."),
    Passage("세종", "세종은 조선의 네 번째 임금이다.", "1"),  # by id
]
WRONG = [Passage("", "부산은 항구이다."), Passage("", "서울은 수도이다."), Passage("", "달은 위성이다.")]
DECOMPOSED = "\u1112\u1161\u11ab\u1100\u1161\u11bc"  # 한강, as some files have it


def questions_of(corpus: Corpus) -> list[RetrievalExample]:
    """Five questions whose gold passages are in ``corpus``, but for blanks around the text."""
    golds = [(2, DECOMPOSED), (5, "이순신"), (1, "훈민정음"), (3, "2744미터"), (2, "강")]
    return [
        RetrievalExample(f"q{n}", "?" * (n + 1), [answer], Passage("", f" {corpus.texts[row]} "), [])
        for n, (row, answer) in enumerate(golds)
    ]

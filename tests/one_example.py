"""One example for augmentations, and the passages that were retrieved for its question."""

from __future__ import annotations

import unicodedata

CONTEXT = "세종은 1443년에 훈민정음을 만들었다. 훈민정음은 세종이 만든 글자이다."


def example(question: str = "세종이 만든 글자는 무엇인가?", answer: str = "훈민정음", context: str = CONTEXT) -> dict:
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {
        "id": "q1",
        "title": "세종",
        "question": question,
        "context": context,
        "answers": answers,
        "document_id": "3",
    }


RETRIEVED = [
    ("3", "세종", CONTEXT),
    ("4", "한글", "한글은 훈민 정음이라고도 불린다."),  # blanks do not hide an answer
    ("5", "한글", unicodedata.normalize("NFD", "훈민정음은 글자이다.")),  # nor does the Unicode form
    ("6", "훈민정음", "세종이 지은 책이다."),  # nor the title
    ("7", "장영실", "장영실은 자격루를 만들었다."),
    ("8", "서울", "서울은 대한민국의 수도이다."),
    ("9", "부산", "부산은 도시이다."),
    ("10", "부산 (도시)", "부산은  도시이다.\u200b"),  # the same once more
    ("11", "한글", "훈민\u00ad정음은 글자이다."),  # what cannot be seen does not hide an answer either
]

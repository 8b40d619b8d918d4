"""Tiny Korean data for tests: passages, and questions about them."""

from __future__ import annotations

import json
from pathlib import Path

PASSAGES = [
    ("세종", "세종은 조선의 제4대 왕이다. 그는 1443년에 훈민정음을 만들었다. 장영실은 그의 명으로 자격루를 만들었다."),
    ("이순신", "이순신은 조선의 장군이다. 그는 1592년에 한산도에서 왜군을 크게 이겼다. 거북선은 그가 만든 배이다."),
    ("서울", "서울은 대한민국의 수도이다. 한강이 서울의 가운데를 흐른다. 서울의 인구는 약 940만 명이다."),
    ("부산", "부산은 대한민국의 제2의 도시이다. 해운대는 부산의 바닷가이다. 부산항은 가장 큰 항구이다."),
    ("수성", "수성은 태양에 가장 가까운 행성이다. 수성의 하루는 지구의 176일과 같다. 대기는 거의 없다."),
    ("금성", "금성은 태양에서 두 번째로 가까운 행성이다. 금성의 대기는 이산화탄소로 되어 있다."),
]
QUESTIONS = [
    (0, "훈민정음은 언제 만들어졌는가?", "1443년"),
    (0, "자격루를 만든 사람은 누구인가?", "장영실"),
    (1, "이순신이 왜군을 이긴 곳은 어디인가?", "한산도"),
    (1, "이순신이 만든 배의 이름은 무엇인가?", "거북선"),
    (2, "서울의 가운데를 흐르는 강은 무엇인가?", "한강"),
    (2, "서울의 인구는 얼마인가?", "약 940만 명"),
    (3, "부산의 바닷가는 어디인가?", "해운대"),
    (3, "부산은 몇 번째 도시인가?", "제2의 도시"),
    (4, "태양에 가장 가까운 행성은 무엇인가?", "수성"),
    (4, "수성의 하루는 지구의 며칠인가?", "176일"),
    (5, "금성의 대기는 무엇으로 되어 있는가?", "이산화탄소"),
    (5, "금성은 태양에서 몇 번째로 가까운가?", "두 번째"),
]


def squad(questions: list[tuple[int, str, str]], prefix: str, with_answers: bool = True) -> dict:
    """Return ``questions`` as SQuAD-format JSON."""
    articles = []
    for number, (passage, question, answer) in enumerate(questions):
        title, context = PASSAGES[passage]
        answers = [{"text": answer, "answer_start": context.index(answer)}] if with_answers else []
        qas = [{"id": f"{prefix}-{number}", "question": question, "answers": answers}]
        articles.append({"title": title, "paragraphs": [{"context": context if with_answers else "", "qas": qas}]})
    return {"version": "test", "data": articles}


def write_dataset(folder: Path) -> None:
    """Write train.json, validation.json, test.json, test_answers.json and wikipedia_documents.json."""
    contents = {
        "train.json": squad(QUESTIONS, "train"),
        "validation.json": squad(QUESTIONS[::2], "validation"),
        "test.json": squad(QUESTIONS[1::2], "test", with_answers=False),
        "test_answers.json": squad(QUESTIONS[1::2], "test"),
        "wikipedia_documents.json": {
            str(number): {"title": title, "text": text, "document_id": number}
            for number, (title, text) in enumerate(PASSAGES)
        },
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def characters() -> list[str]:
    """Every character of the passages and questions but the blank."""
    texts = [text for passage in PASSAGES for text in passage] + [question for _, question, _ in QUESTIONS]
    return sorted(set("".join(texts)) - {" "})

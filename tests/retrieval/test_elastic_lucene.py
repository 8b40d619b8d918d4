"""Our analysis settings and BM25 values in Lucene 8 with nori, the engine of Elasticsearch 7.10, where it is installed.

    apt-get install liblucene8-java default-jdk-headless
    python -m pytest tests/retrieval/test_elastic_lucene.py

LUCENE_JARS names another folder of the jars, such as one that ``dpkg -x`` wrote.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from loading.corpus import Corpus
from retrieval.elastic import ElasticRetrieval

JARS = [
    next(iter(sorted(Path(os.environ.get("LUCENE_JARS", Path("/", "usr", "share", "java"))).glob(pattern))), None)
    for pattern in ("lucene-core-8*.jar", "lucene-analyzers-common-8*", "lucene-analyzers-nori-8*", "lucene-misc-8*")
]
pytestmark = pytest.mark.skipif(
    None in JARS or shutil.which("java") is None,
    reason="needs Lucene 8 and a JDK: apt-get install liblucene8-java default-jdk-headless, or LUCENE_JARS=FOLDER",
)

K1, B = 1.3, 0.6
RULES = ["훈민정음", "돌하르방 돌 하르방"]
PASSAGES = [
    ("세종대왕", "세종은 글을 모르는 백성에게 훈민정음을 주었다."),
    ("대한민국", "세종대왕은 대한민국임시정부를 몰랐다."),
    ("제주도", "돌하르방은 제주도에 있는가? 제주도는 화산이 터져 생긴 섬이다."),
    ("한강", "DNA와 漢江"),
    ("", "그리고 매우 아름답다!"),
    ("정부", "정부는 백성을 위하여 섬에 배를 보냈다."),
    ("거북선", "거북선은 이순신이 임진왜란 때 바다에서 쓴 배로 등에 쇠못을 꽂았다."),
    ("광합성", "식물은 햇빛과 물과 이산화탄소로 양분을 만드는데 이를 광합성이라 한다."),
    ("배", "배는 바다와 강을 건너는 탈것이다."),
    ("배", "배는 바다와 강을 건너는 탈것이다."),
    ("", "섬 섬 섬 화산 섬"),
]
QUESTIONS = [
    "대한민국임시정부",
    "돌하르방은 어느 섬에 있는가?",
    "DNA와 한강",
    "훈민정음을 만들어 백성을 가르친 왕은 누구인가?",
    "이순신이 바다에서 쓴 배의 이름은?",
    "섬 섬 화산",
    "햇빛으로 양분을 만드는 것은?",
    "매우",
]


@pytest.fixture(scope="module")
def retriever() -> ElasticRetrieval:
    return ElasticRetrieval("http://localhost:9200", K1, B, user_dictionary=RULES)


def ask_lucene(retriever, corpus, questions, folder):
    """Return the terms of passages {(row, field): [(term, increment)]}, of questions, and hits [(row, score)]."""
    settings = retriever.settings()
    analysis, bm25 = settings["analysis"], settings["index"]["similarity"]["bm25"]
    modes = []
    for analyzer in (analysis["analyzer"]["ko"], analysis["analyzer"]["ko_question"]):
        tokenizer = analysis["tokenizer"][analyzer["tokenizer"]]
        assert (tokenizer["type"], tokenizer["user_dictionary_rules"]) == ("nori_tokenizer", RULES)
        modes.append(tokenizer["decompound_mode"])
    filters = [analysis["filter"].get(name, {"type": name}) for name in analysis["analyzer"]["ko"]["filter"]]
    assert filters and all(set(described) == {"type"} for described in filters)  # the values Lucene has by itself
    passages = [f"{title}\t{text}" for title, text in zip(corpus.titles, corpus.texts, strict=True)]
    for name, lines in (("rules", RULES), ("passages", passages), ("questions", questions)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["java", "-cp", os.pathsep.join(map(str, JARS)), str(Path(__file__).with_name("NoriOracle.java"))]
    command += [*modes, ",".join(described["type"] for described in filters), str(folder / "rules")]
    command += [str(bm25["k1"]), str(bm25["b"]), str(folder / "passages"), str(folder / "questions")]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert result.returncode == 0, result.stderr
    of_passages: dict[tuple[int, str], list[tuple[str, int]]] = {}
    of_questions: list[list[str]] = [[] for _ in questions]
    hits: list[list[tuple[int, float]]] = [[] for _ in questions]
    for line in result.stdout.splitlines():
        match line.split("\t"):
            case "passage", row, field, term, increment:
                of_passages.setdefault((int(row), field), []).append((term, int(increment)))
            case "question", number, term:
                of_questions[int(number)].append(term)
            case "hit", number, row, score:
                hits[int(number)].append((int(row), float(score)))
    return of_passages, of_questions, hits


@pytest.fixture(scope="module")
def answers(retriever, tmp_path_factory):
    corpus = Corpus([str(row) for row in range(len(PASSAGES))], *map(list, zip(*PASSAGES, strict=True)))
    return ask_lucene(retriever, corpus, QUESTIONS, tmp_path_factory.mktemp("lucene"))


def test_passages_keep_compounds_beside_their_parts_and_questions_are_cut_into_parts(answers):
    of_passages, of_questions, _ = answers
    texts = [[term for term, _ in of_passages[row, "text"]] for row in range(5)]
    assert texts[0][:5] == ["세종", "글", "모르", "백성", "훈민정음"]
    assert texts[1] == ["세종", "대왕", "대한민국", "대한", "민국", "임시", "정부", "몰랐", "모르"]
    assert texts[2][:6] == ["돌하르방", "돌", "하르방", "제주도", "제주", "도"]  # the first by our rule
    assert texts[3] == ["dna", "한강"]  # written in Chinese characters, read in Korean
    assert texts[4] == ["아름답"]  # adverbs and endings are left out
    assert of_questions[0] == ["대한", "민국", "임시", "정부"]
    assert of_questions[1] == ["돌", "하르방", "섬", "있"]
    assert of_questions[2] == ["dna", "한강"]
    assert of_questions[7] == []


def test_scores_are_those_of_the_formula(answers):
    of_passages, of_questions, hits = answers
    assert max(map(len, of_passages.values())) < 40  # where Lucene keeps lengths exactly
    for terms, found in zip(of_questions, hits, strict=True):
        expected = bm25(of_passages, terms, "title") + bm25(of_passages, terms, "text")
        ranking = sorted(expected, key=lambda row: (-expected[row], row))
        assert [row for row, _ in found] == ranking
        assert [score for _, score in found] == pytest.approx([expected[row] for row in ranking], rel=1e-5)
    found = [[row for row, _ in ranking] for ranking in hits]
    assert found[0] == [1, 5]  # the second has one part of the compound
    assert [row for row in found[4] if row in (8, 9)] == [8, 9]  # the same words, so in the order of the rows
    assert found[7] == []


def bm25(of_passages, question, field):
    """Return Elasticsearch's BM25 by one field of the passages that match."""
    passages = {row: terms for (row, name), terms in of_passages.items() if name == field}  # those with any term
    counts = {row: Counter(term for term, _ in terms) for row, terms in passages.items()}
    # A passage's length leaves out what stands beside another term, compounds' first parts; the mean counts all.
    lengths = {row: sum(step > 0 for _, step in terms) for row, terms in passages.items()}
    mean_length = sum(map(len, passages.values())) / len(passages)
    scores = Counter()
    for term in question:
        frequency = sum(term in count for count in counts.values())
        idf = math.log(1 + (len(passages) - frequency + 0.5) / (frequency + 0.5))
        for row, count in counts.items():
            norm = K1 * (1 - B + B * lengths[row] / mean_length)
            scores[row] += idf * (K1 + 1) * count[term] / (count[term] + norm)
    return +scores  # those above 0

"""Rules of answers: what they cut and what they leave, in whole Korean sentences, and that offsets stay true."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pytest

from reading.answers import Answer
from reading.postprocessing import DEFAULT_RULES, RULES, Passage, fault_of, postprocess, rules_in
from runtime.errors import UserError

# A sentence, a span of it, and how many characters at the span's end are no part of the answer.
CUT = [
    ("세종이 훈민정음을 만들었다.", "세종이", 1),
    ("이순신은 한산도에서 왜군을 이겼다.", "이순신은", 1),
    ("이순신은 한산도에서 왜군을 이겼다.", "한산도에서", 2),
    ("이순신은 한산도에서 왜군을 이겼다.", "왜군을", 1),
    ("정조는 초계문신제를 시행하였다.", "초계문신제를", 1),
    ("그 나라의 수도는 서울이다.", "서울이다", 2),
    ("거북선은 조선의 배이며 이순신이 만들었다.", "배이며", 2),
    ("조선의 제4대 왕인 세종은 글자를 만들었다.", "왕인", 1),
    ("첨성대는 신라 선덕여왕 때의 천문대였다.", "천문대였다", 2),
    ("조선이라는 나라는 1392년에 세워졌다.", "조선이라는", 3),
    ("조선이라는 나라는 1392년에 세워졌다.", "1392년에", 1),
    ("시위에는 모두 37명이 참가했다.", "37명이", 1),
    ("그는 1950년 6월 25일부터 일기를 썼다.", "1950년 6월 25일부터", 2),
    ("공사는 1997년까지 이어졌다.", "1997년까지", 2),
    ("인구의 85%가 도시에 산다.", "85%가", 1),
    ("그 영화는 칸에서 황금종려상을 받았다.", "황금종려상을", 1),
    ("고양이가 쥐를 잡았다.", "고양이가", 1),
    ("두 나라 사이에 전쟁이 있었다.", "전쟁이", 1),
    ("그는 파리로 떠나 미술을 배웠다.", "파리로", 1),
    ("장영실과 이천은 혼천의를 만들었다.", "장영실과", 1),
    ("왕에게 상소를 올린 사람은 김종직이었다.", "왕에게", 2),
    ("왕에게 상소를 올린 사람은 김종직이었다.", "김종직이었다", 3),
    ("이 병의 원인은 비타민 C의 결핍이다.", "비타민 C의", 1),
    ("국제 통화 기금(IMF)은 특별 인출권을 만들었다.", "국제 통화 기금(IMF)은", 1),
    ("성종은 『경국대전』을 시행하였다.", "『경국대전』을", 1),
    ("소설 《토지》의 작가는 박경리다.", "박경리다", 1),
    ("그는 서울에서는 볼 수 없는 꽃을 찾았다.", "서울에서는", 3),
    ("사람들은 그 산을 금강산이라고도 부른다.", "금강산이라고도", 4),
    ("그 강은 독일뿐만 아니라 체코에서도 흐른다.", "체코에서도", 3),
    ("한강처럼 큰 강은 드물다.", "한강처럼", 2),
    ("그 시절에는 쌀만 세금으로 냈다.", "쌀만", 1),
    ("화석은 만들기보다 찾기가 어렵다.", "찾기가", 1),
    ("이 기록은 중국에서 가장 오래되었다.", "중국에", 1),  # a particle cut in its middle is one
]
LEAVE = [
    ("고양이가 쥐를 잡았다.", "고양이"),
    ("두 나라 사이에 전쟁이 있었다.", "두 나라 사이"),
    ("그의 나이는 스무 살이었다.", "나이"),
    ("호랑이와 곰이 산에 살았다.", "호랑이"),
    ("어머니는 떡볶이와 순대를 좋아하셨다.", "떡볶이"),
    ("축구 선수 박지성의 등번호를 물었다.", "박지성"),
    ("북한의 지도자 김정은은 회담에 나왔다.", "김정은"),
    ("시인 고은은 만인보를 썼다.", "고은"),
    ("가수 아이유의 노래가 인기를 얻었다.", "아이유"),
    ("그 작가는 한강이며 소설을 썼다.", "한강"),
    ("국가는 법으로 다스린다.", "국가"),
    ("작곡가와 화가가 모였다.", "작곡가"),
    ("물가가 크게 올랐다.", "물가"),
    ("그는 종로에서 태어났다.", "종로"),
    ("고속도로는 1970년에 열렸다.", "고속도로"),
    ("그 왕은 미로를 지었다.", "미로"),
    ("제주도는 화산섬이다.", "제주도"),
    ("조선 시대의 지도는 정확했다.", "지도"),
    ("강화도와 거제도를 방문했다.", "거제도"),
    ("사과와 배를 팔았다.", "사과"),
    ("학과는 세 개였다.", "학과"),
    ("기와를 구워 지붕을 올렸다.", "기와"),
    ("그의 시는 소나무를 노래한다.", "시"),
    ("다리는 나무로 만들었다.", "나무"),
    ("조선은 태조가 세웠다.", "조선"),
    ("그는 은과 금을 팔았다.", "은"),
    ("마을의 이름은 가을이었다.", "가을"),
    ("양말은 겨울에 많이 팔린다.", "겨울"),
    ("그 병은 오래전부터 있었다.", "병"),
    ("그 도시의 회의에 왕이 참석했다.", "회의"),
    ("주의를 기울여 일해야 한다.", "주의"),
    ("그 나라는 자유 민주주의를 택했다.", "자유 민주주의"),
    ("그는 노르웨이에서 살았다.", "노르웨이"),
    ("에베레스트는 세계에서 가장 높은 산이다.", "가장 높은"),
    ("그가 한가한 때에 쓴 글이다.", "한가"),
    ("학생들은 기차에서 내려 걸어서 갔다.", "걸어서"),
    ("훈장은 죽은 뒤에 주어졌다.", "죽은"),
    ("그는 걸어서도 갈 수 있었다.", "걸어서도"),
    ("그는 밥을 먹고는 바로 잤다.", "먹고는"),
    ("사람들은 그가 옳다고 말했다.", "옳다고"),
    ("직원은 모두 3만 명이다.", "3만"),
    ("그들은 이틀 만에 도착했다.", "이틀 만"),
]


def tidied(text: str, span: str, *rules: str) -> str:
    """What the rules make of the first place of ``span`` in ``text``; its offsets are those of ``text``."""
    start = text.index(span)
    answer = Answer(span, 1.0, 0.0, 0.0, 0.0, "d", 1, start, start + len(span))
    (after,) = postprocess([answer], {1: Passage(text)}, rules)
    assert text[after.start : after.end] == after.text
    return after.text


@pytest.mark.parametrize(("sentence", "span", "count"), CUT)
def test_particles_and_the_copula_are_cut(sentence: str, span: str, count: int) -> None:
    assert tidied(sentence, span, "particles") == span[:-count]


@pytest.mark.parametrize(("sentence", "span"), LEAVE)
def test_a_word_that_only_looks_like_one_with_a_particle_is_left(sentence: str, span: str) -> None:
    assert tidied(sentence, span, "particles") == span


def test_the_passage_decides_what_a_syllable_is() -> None:
    assert tidied("국가가 법을 만든다.", "국가가", "particles") == "국가"
    assert tidied("그는 소설가이다.", "소설가", "particles") == "소설가"


def test_decomposed_hangul_is_understood_and_its_offsets_are_its_own() -> None:
    text, span, left = (unicodedata.normalize("NFD", part) for part in ("그래서 세종이 만들었다.", "세종이", "세종"))
    assert tidied(text, span, "particles") == left


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("답은 세종, 그리고 문종이다.", "세종,", "세종"),
        ("답은 ·세종: 왕", "·세종:", "세종"),
        ("답은 \u200b세종\ufeff 왕", "\u200b세종\ufeff ", "세종"),
        ("그는 U.S. 대표였다.", "U.S.", "U.S."),
        ("값은 .5 이상이다.", ".5", ".5"),
        ("그는 KBS.", "KBS.", "KBS"),
        ("답은 ...", "...", "..."),  # nothing would be left
    ],
)
def test_edges(text: str, span: str, expected: str) -> None:
    assert tidied(text, span, "edges") == expected


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("그는 1443년에 글자를 만들었다.", "1443", "1443년"),
        ("그는 1443년에 글자를 만들었다.", "14", "1443년"),
        ("비용은 1,003,500원이었다.", "003", "1,003,500원"),
        ("인구의 85%가 산다.", "인구의 85", "인구의 85%"),
        ("거리는 42.195km이다.", "42", "42.195km"),
        ("모두 3만명이 왔다.", "3", "3만명"),
        ("그날은 1950년 6월 25일이었다.", "년 6월 25일", "1950년 6월 25일"),
        ("그날은 1950년 6월 25일이었다.", "1950년 6월 2", "1950년 6월 25일"),
        ("그는 7번 방에 산다.", "7번 방", "7번 방"),
        ("앨범 2016에 담겼다.", "앨범 2016", "앨범 2016"),
        ("세종은 왕이다.", "세종", "세종"),
        ("그는 인천공항에서 내렸다.", "인천", "인천"),
        ("그는 CA1뉴런을 찾았다.", "뉴런", "뉴런"),
        ("그는 1, 2를 골랐다.", "2", "2"),
        ("인구는 3만 명이다.", "3", "3만"),
    ],
)
def test_units(text: str, span: str, expected: str) -> None:
    assert tidied(text, span, "units") == expected


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("그는 『경국대전』을 펴냈다.", "『경국대전』", "경국대전"),
        ("그는 『경국대전』을 펴냈다.", "경국대전』", "경국대전"),
        ("그는 『경국대전』을 펴냈다.", "『경국대전", "경국대전"),
        ("그는 소설 《토지》를 썼다.", "소설 《토지", "소설 《토지》"),
        ("그는 《토지》 연작을 썼다.", "토지》 연작", "《토지》 연작"),
        ("세종(世宗)은 왕이다.", "세종(世宗", "세종"),
        ("세종(世宗)은 왕이다.", "세종(世宗)", "세종(世宗)"),
        ("(주)삼성(본사)이 있다.", "(주)삼성(본사)", "(주)삼성(본사)"),
        ('그는 "자유"를 외쳤다.', '"자유"', "자유"),
        ('그는 "자유"를 외쳤다.', '자유"', "자유"),
        ("그는 '자유' 정신을 말했다.", "자유' 정신", "'자유' 정신"),
        ("가게 이름은 king's cup 이다.", "king's cup", "king's cup"),
        ("그는 “《토지》”를 읽었다.", "“《토지》”", "토지"),
        ("기호 ()는 비었다.", "()", "()"),
        ("그림 〈별이 빛나는 밤〉 앞", "〈별이 빛나는 밤〉 앞", "〈별이 빛나는 밤〉 앞"),
        ("a) 세종 b) 문종", "세종 b) 문종", "세종 b) 문종"),
        ("소설 《토지 1부》", "소설 《토지", "소설 《토지"),
        ("잡지는 'TIME'", "'TIME'", "TIME"),
        ("영화 'It's Me'", "It's Me'", "It's Me"),
        ("a < b 이다.", "a < b", "a < b"),
    ],
)
def test_brackets(text: str, span: str, expected: str) -> None:
    assert tidied(text, span, "brackets") == expected


# -------------------------------------------------------------------------------------------------------- the answers

TEXT = "세종이 글자를 만들었다. 그때 문종은 왕자였다."


def answers_of(*found: tuple[str, float]) -> list[Answer]:
    """Answers in the passage of rank 1; an empty text is "no answer"."""
    return [
        Answer(text, probability, 0.0, 0.0, 0.0, "", int(bool(text)), at, at + len(text))
        for text, probability in found
        for at in [TEXT.index(text)]
    ]


def after(rules: Sequence[str], *found: tuple[str, float]) -> list[tuple[str, float]]:
    answers = postprocess(answers_of(*found), {1: Passage(TEXT)}, rules)
    assert all(TEXT[answer.start : answer.end] == answer.text for answer in answers)
    return [(answer.text, pytest.approx(answer.probability)) for answer in answers]


def test_answers_that_become_one_are_merged_and_may_overtake() -> None:
    found = ("문종", 0.4), ("세종이", 0.35), ("세종", 0.2)
    assert after([], *found) == list(found)
    assert after(["particles"], *found) == [("세종", 0.55), ("문종", 0.4)]


def test_no_answer_stays_first_or_last() -> None:
    assert after(["particles"], ("", 0.1), ("세종이", 0.5), ("세종", 0.4)) == [("", 0.1), ("세종", 0.9)]
    assert after(["particles"], ("세종이", 0.3), ("세종", 0.2), ("", 0.5)) == [("세종", 0.5), ("", 0.5)]
    assert after(list(RULES), ("", 1.0)) == [("", 1.0)]
    assert postprocess([], {}, list(RULES)) == []


def test_nested_answers_are_one_and_neighbours_are_not() -> None:
    found = ("문종은", 0.4), ("세종이 글자를", 0.3), ("세종", 0.2), ("글자", 0.1)
    assert after(["nested"], *found) == [("세종이 글자를", 0.6), ("문종은", 0.4)]
    assert after(["nested"], ("세종이", 0.5), ("종이 글자", 0.5)) == [("세종이", 0.5), ("종이 글자", 0.5)]


def test_the_answers_that_are_given_are_not_changed() -> None:
    given = answers_of(("세종이", 0.6), ("세종", 0.4))
    postprocess(given, {1: Passage(TEXT)}, list(RULES))
    assert given == answers_of(("세종이", 0.6), ("세종", 0.4))


def test_a_passage_is_analysed_at_most_once_and_only_for_answers_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed: list[str] = []

    class Kiwi:
        def tokenize(self, text: str) -> list:
            analysed.append(text)
            return []

    monkeypatch.setattr("reading.postprocessing.kiwi", lambda needed_by: Kiwi())
    passage = Passage(TEXT)
    likely, unlikely = answers_of(("세종이", 0.4), ("문종은", 0.003))
    postprocess([likely, replace(unlikely, rank=2)], {1: passage, 2: Passage("문종은")}, list(RULES))
    assert analysed == [TEXT]
    postprocess(answers_of(("세종이", 0.6), ("문종은", 0.4)), {1: passage}, list(RULES))
    assert analysed == [TEXT]


# ---------------------------------------------------------------------------------------------------------- the names


def test_rules_are_named_in_any_order_and_applied_in_that_of_the_registry() -> None:
    assert rules_in("brackets,edges") == ["edges", "brackets"]
    assert (rules_in("all"), rules_in("none")) == (list(RULES), [])
    assert set(rules_in(DEFAULT_RULES)) < set(RULES)


@pytest.mark.parametrize("names", ["", "josa", "edges,josa", "edges, brackets", "all,edges"])
def test_an_unknown_rule_lists_the_known_ones(names: str) -> None:
    assert fault_of(names) is not None
    with pytest.raises(UserError, match=r"names no rule '.*': choose from edges, units, particles, brackets, nested"):
        rules_in(names)

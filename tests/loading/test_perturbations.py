"""Ways to ask the same, against changes worked out by hand."""

from __future__ import annotations

import random

import pytest

from loading.perturbations import PERTURBATIONS, perturbed


def changed(name: str, text: str) -> str:
    return PERTURBATIONS[name](text, random.Random(0))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("spacing", "훈민정음은 누가\n만들었나?", "훈민정음은누가만들었나?"),
        ("nfd", "왕 AB", "\u110b\u116a\u11bc AB"),
        ("particles", "왕은 나라가 바다를 산과 본다", "왕는 나라이 바다을 산와 본다"),
        ("particles", "서울에서 왕이 죽은 해는?", "서울에서 왕가 죽은 해은?"),  # after a longer one, too
        ("particles", "누군 집에서 달린다", "누군 집에서 달린다"),  # the particle in 누군 is no syllable of its own
        ("numbers", "1443년에 10월 9일", "천사백사십삼년에 십월 구일"),
        ("numbers", "인구 9,411,260명", "인구 구백사십일만천이백육십명"),
        ("numbers", "10000 20000 100000001 11 0 007", "만 이만 일억일 십일 영 영영칠"),
        ("numbers", "키 3.14m, 1,234.5원", "키 삼점일사m, 천이백삼십사점오원"),
        ("numbers", "12345678901234567890123", "일이삼사오육칠팔구영일이삼사오육칠팔구영일이삼"),
        ("nouns", "서울의 가운데를 흐르는 강은 무엇인가?", "서울 가운데 강"),
        ("nouns", "어디인가?", "어디인가?"),  # no noun is left to ask with
        ("typo", "ABC 123", "ABC 123"),
    ],
)
def test_a_question_is_changed(name: str, text: str, expected: str) -> None:
    assert changed(name, text) == expected


def test_a_typo_hits_a_neighbouring_key_once() -> None:
    typed = {PERTURBATIONS["typo"]("가", random.Random(seed)) for seed in range(200)}
    assert typed == set("다사라거기갸")  # ㄷ and ㅅ beside ㄱ, ㄹ below; ㅓ and ㅣ beside ㅏ, ㅑ above
    typed = {PERTURBATIONS["typo"]("꽉", random.Random(seed)) for seed in range(200)}
    assert typed == set("꽏꽛꽐")  # only its ㄱ is on one key


def test_what_is_drawn_for_one_question_depends_on_no_other() -> None:
    texts = ["훈민정음은 언제 만들어졌는가?", "자격루를 만든 사람은 누구인가?"]
    both = perturbed("typo", texts, 7)
    assert perturbed("typo", texts[1:], 7) == both[1:]
    assert both != perturbed("typo", texts, 8)
    for before, after in zip(texts, both, strict=True):
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1

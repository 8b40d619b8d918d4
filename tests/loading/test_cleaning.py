"""Wiki markup goes, and what a page shows stays."""

from __future__ import annotations

import random
import re

import pytest
from tiny_data import PASSAGES, QUESTIONS

from loading.cleaning import clean, clean_corpus
from loading.corpus import Corpus
from runtime.text import answer_in_text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("[[한강|강]]은 [[서울]]을 지난다.", "강은 서울을 지난다."),
        ("[[파일:a.jpg|섬네일|left|[[한강]]의 모습]]강", "한강의 모습강"),
        ("[[File:a.jpg]]강", "강"),
        ("[[:분류:강]] [https://a.b/c 누리집] [https://a.b]", "분류:강 누리집"),
        ("태조[1]는 왕[주 2]이다.[출처 필요]", "태조는 왕이다."),
        ("'''한강'''은 ''강''이다. 5'30''에 왔다.", "한강은 강이다. 5'30''에 왔다."),
        ("== 역사 ==\n옛날", "역사\n옛날"),
        ("식은 a == b이다", "식은 a == b이다"),
        ('한강<ref name="a">책, 3쪽</ref>은<br/>강<!-- 몰래 -->', "한강 책, 3쪽 은 강"),
        ("나관중의 <삼국지>와 <b>책</b>", "나관중의 <삼국지>와 책"),
        ("A&amp;T&nbsp;회사", "A&T 회사"),
        ("서울({{llang|en|Seoul}}, {{인구|값=9,400,000|연도=2020}})", "서울(en Seoul, 9,400,000 2020)"),
        ("서울( , )은 수도", "서울은 수도"),
        ("첫째\\n\\n둘째\n\n\n셋째  넷째\u00a0다섯째", "첫째\n둘째\n셋째 넷째 다섯째"),
        ("$\\nabla$는 나블라", "$\\nabla$는 나블라"),
        ('{| class="a"\n|-\n| 가 || 나\n|}', "가 나"),
        ("{{목차}}", "{{목차}}"),  # nothing would be left
        ("한강은 강이다.", "한강은 강이다."),
    ],
)
def test_markup_goes(text, cleaned):
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


def wrapped(word, rng):
    """``word`` as wikitext may show it."""
    forms = [
        word, f"[[{word}]]", f"[[다른 글|{word}]]", f"'''{word}'''", f"<b>{word}</b>", f"{word}[{rng.randint(1, 99)}]",
        f"<ref>{word}</ref>", f"{{{{nowrap|{word}}}}}", f"[https://a.b {word}]", f"[[파일:a.png|섬네일|{word}]]",
        f"<small>[[다른|{word}]]</small>", f"{word}(, )", f"\n== {word} ==\n", f"\n{{|\n|-\n| {word}\n|}}\n",
    ]  # fmt: skip
    return rng.choice(forms)


@pytest.mark.parametrize("seed", range(5))
def test_no_answer_is_lost_however_it_is_marked_up(seed):
    rng = random.Random(seed)
    for passage, _, answer in QUESTIONS:
        words = re.split("( )", PASSAGES[passage][1].replace(answer, "@"))
        text = "".join(wrapped(word, rng) if re.fullmatch(r"\w+", word) else word for word in words)
        for form in (answer, wrapped(answer, rng)):
            assert answer_in_text([answer], clean(text.replace("@", form))), text


def test_plain_text_keeps_every_character_but_repeated_blanks():
    for _, text in PASSAGES:
        assert clean(text) == text
    odd = "값은 [가, 나] {다} <라> |마| 'ㅂ' a_b #사 1. [2024년] (아) == 와 ~ 100% & Co; x<y>z"
    assert clean(odd) == odd


def test_a_corpus_keeps_its_ids_and_titles():
    corpus = Corpus(["1"], ["[제목]"], ["[[한강]]"], {"2": "1"})
    cleaned = clean_corpus(corpus)
    assert cleaned == Corpus(["1"], ["[제목]"], ["한강"]) and cleaned.also_known_as == {"2": "1"}
    assert cleaned.hash != corpus.hash

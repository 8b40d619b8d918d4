"""What is blank, what is the same text, and what is searched, over all characters of Unicode."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from right_and_wrong import DECOMPOSED

from runtime.text import (
    answer_in_passage,
    answer_in_text,
    comparable,
    escaped,
    fold,
    inner_span,
    is_blank,
    is_encodable,
    seen_characters,
    seen_text,
    strip_blanks,
)

ALL = [chr(code) for code in range(sys.maxunicode + 1)]
INVISIBLE = [
    "\u200b",  # zero width space
    "\ufeff",  # byte-order mark
    "\u200e",  # left-to-right mark
    "\u00ad",  # soft hyphen
    "\u2060",  # word joiner
    "\u202e",  # right-to-left override
    "\U000e0041",  # tag
    "\x00",
    "\x07",
    "\x1f",
    "\x7f",
    "\x9f",
    "\u3164",  # Hangul filler
    "\uffa0",
    "\u115f",
    "\u1160",
    "\u2800",  # Braille pattern blank
]


def test_white_space_format_and_control_characters_are_blank_and_nothing_else_but_fillers() -> None:
    blank = {character for character in ALL if is_blank(character)}
    expected = {c for c in ALL if c.isspace() or unicodedata.category(c) in ("Cc", "Cf")}
    assert blank - expected == {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
    assert blank >= expected
    assert seen_characters("".join(ALL)).tolist() == [code for code, c in enumerate(ALL) if c not in blank]
    assert is_blank("") and is_blank(" \u200b\n") and not is_blank("\u200b왕")


@pytest.mark.parametrize("mark", INVISIBLE)
def test_blanks_at_the_edges_are_stripped_and_those_inside_stay(mark: str) -> None:
    text = f"{mark} 세종{mark}대왕 {mark}{mark}"
    assert strip_blanks(text) == f"세종{mark}대왕"
    start, end = inner_span(text, 0, len(text))
    assert text[start:end] == f"세종{mark}대왕"
    assert inner_span(text, 0, 2) == (2, 2)
    assert seen_text(text).split() == (["세종대왕"] if unicodedata.category(mark) == "Cf" else ["세종", "대왕"])


def test_ordinary_text_is_seen_as_it_is() -> None:
    for text in ("세종은 1443년에\n훈민정음을\t만들었다.", "Ⅳ ½ ＫＢＳ ㄱ ㆍ é 😀 漢字", "  두 칸 "):
        assert seen_text(text) == text
    assert seen_text(unicodedata.normalize("NFD", "세종 é")) == "세종 é"


@pytest.mark.parametrize(
    ("texts", "folded"),
    [
        (["ＫＢＳ １９２７", "KBS 1927", "KBS\u30001927"], "KBS 1927"),
        (["100㎝", "100cm", "１００cm"], "100cm"),
        (["㈜한강", "(주)한강"], "(주)한강"),
        (["㉠", "ㄱ", "\uffa1", "\u1100"], "\u1100"),  # circled, compatibility, half-width and plain
        (["ㄱㅏ", "\uffa1\uffc2", "\u1100\u1161", "가"], "가"),
        (["ﬁn", "fin"], "fin"),
        ([f"정치{dot}경제" for dot in "ㆍ・･·•‧∙⋅⸱\u119e"], "정치·경제"),
        (["대한\u00ad민국", "대한\u200b민국", "대한\ufeff민국", "대한민국"], "대한민국"),
        (["葛\U000e0100城", "葛城"], "葛城"),  # which of its drawings
        (["왕\0물", "왕 물", "왕\u3164물"], "왕 물"),
        (["나랏말\u110a\u119e미"], "나랏말\u110a\u119e미"),  # an old syllable, not a dot
        (["가\r\n나\t다"], "가\r\n나\t다"),
    ],
)  # fmt: skip
def test_what_looks_alike_is_searched_alike(texts: list[str], folded: str) -> None:
    assert [fold(text) for text in texts] == [folded] * len(texts)
    assert [fold(unicodedata.normalize("NFD", text)) for text in texts] == [folded] * len(texts)


def test_folding_is_that_of_unicode_but_for_dots_and_what_is_not_seen() -> None:
    other = {c for c in ALL if fold(c) != unicodedata.normalize("NFKC", c) and not is_blank(c)}
    drawing = {c for c in ALL if unicodedata.name(c, "").startswith("VARIATION SELECTOR-")} | {"\u034f"}
    assert other == drawing | {*"ㆍ・･•‧∙⋅⸱\u119e"}
    assert [c for c in ALL if fold(fold(c)) != fold(c)] == []


def test_texts_are_the_same_whatever_blanks_and_forms() -> None:
    assert (
        comparable(" 훈민\u200b 정음\n")
        == comparable("훈민정음")
        == comparable(unicodedata.normalize("NFD", "훈민정음"))
    )
    assert comparable("ＫＢＳ") == comparable("KBS") != comparable("kbs")


def test_an_answer_occurs_in_one_text_or_the_other_and_blank_ones_nowhere() -> None:
    assert answer_in_passage(["물", "훈민 정음"], "세종", "\u00ad훈민정\u00ad음은")
    assert answer_in_passage(["세종"], "세 종", "글")
    assert answer_in_text(["훈민 정음"], "글은 훈민정음이다")
    assert answer_in_text(["의주"], "신의주로") and not answer_in_text(["의주"], "배의 주름살")
    assert answer_in_text(["(주) 한강?"], "㈜한강?")
    assert not answer_in_passage(["한강"], "한", "강")
    assert not answer_in_passage(["", " ", "\u200b"], "세종", "글")


def test_an_answer_is_found_whatever_its_unicode_form_and_blanks() -> None:
    assert answer_in_passage([f"{DECOMPOSED}\n이야기"], "", "긴  한강 이야기")
    assert answer_in_passage(["한강"], "한강", "글")
    assert not answer_in_passage(["한강", "", " "], "한", "강")


def test_what_is_escaped_is_what_python_escapes_but_for_spaces() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        is_escaped = category in ("Cc", "Cf", "Cs", "Zl", "Zp")
        assert escaped(character) == (repr(character)[1:-1] if is_escaped else character)
    assert escaped("가\t나\n\x1b[2J", lines=True) == "가\t나\n\\x1b[2J"
    assert escaped("가\t나\n") == "가\\t나\\n"


def test_half_of_a_surrogate_pair_is_in_no_file() -> None:
    assert is_encodable("훈민정음 \U00020000") and not is_encodable("a\ud800")

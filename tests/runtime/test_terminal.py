"""Text in a terminal: its width, its lines, its marks."""

from __future__ import annotations

import unicodedata

import pytest

from runtime.terminal import columns_of, marked, one_line, shown, wrapped


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("한글", 4), ("가\u200b나", 4), ("ＡＢ", 4), ("é", 1), ("e\u0301", 1), ("井 자", 5), ("", 0)],
)
def test_korean_takes_two_columns(text: str, columns: int) -> None:
    assert columns_of(text) == columns


def test_decomposed_syllables_are_as_wide_as_composed_ones() -> None:
    assert columns_of(unicodedata.normalize("NFD", "한국어")) == 6


@pytest.mark.parametrize("width", [12, 20, 33, 80])
@pytest.mark.parametrize("colour", [False, True])
def test_lines_fit_and_hold_the_whole_text(width: int, colour: bool) -> None:
    text = "대한민국의 수도는 서울특별시이다. " + "긴단어" * 20 + " the end"
    shown = wrapped(text, width, "* ", "  ", colour)
    lines = shown.splitlines()
    assert max(map(columns_of, lines)) <= width
    assert "".join(line[2:] for line in lines).replace(" ", "") == text.replace(" ", "")


def test_what_is_marked_is_in_brackets_or_in_colour_on_every_line() -> None:
    text = marked("앞에 있는\n말과 정답은 이것\x1b이다.", 9, 17)
    assert wrapped(text, 80) == "앞에 있는 말과 [정답은 이것 이]다."
    assert wrapped(text, 10, "", "  ", colour=True).splitlines() == [
        "앞에", "  있는", "  말과", "  \x1b[1;32m정답은\x1b[0m", "  \x1b[1;32m이것\x1b[0m", "  \x1b[1;32m이\x1b[0m다."
    ]  # fmt: skip


def test_a_message_commands_nothing_and_tells_no_secret() -> None:
    assert shown("a\tb\n\x1b[2J\x1b]0;x\x07\u202e http://me:pw@host/?token=t") == (
        "a\tb\n\\x1b[2J\\x1b]0;x\\x07\\u202e http://***@host/?token=***"
    )


def test_one_line_has_no_controls() -> None:
    assert one_line(" 가\x1b[31m\t나\u202e\n다 ") == "가 [31m 나 다"

"""A name and its flags in one word: taken apart and put together again, quotes and escapes included."""

from __future__ import annotations

import pytest

from runtime.one_word import items_of, join_word, name_of, quoted, split_word, unquoted

TEXTS = ["plain", "한국어 두 말", "", "a, b", "a+b", 'say "yes"', "it's", "back\\slash", '\\"', "'\"", 'y,text="a+b"']


@pytest.mark.parametrize(
    ("word", "name", "flags"),
    [
        ("Box", "Box", {}),
        ("Box,width=3,depth=0.50", "Box", {"width": "3", "depth": "0.50"}),
        ("Box,width=", "Box", {"width": ""}),
        ("Box,test=a=b", "Box", {"test": "a=b"}),
        ('Box,text="a, b",width=3', "Box", {"text": '"a, b"', "width": "3"}),
        ("Box,text='a, \"b\"'", "Box", {"text": "'a, \"b\"'"}),
        ('Box,text="a\\", b"', "Box", {"text": '"a\\", b"'}),
        ('Bag,parts=Box+"Ball,radius=2"', "Bag", {"parts": 'Box+"Ball,radius=2"'}),
        ('Box,text=5",width=3', "Box", {"text": '5"', "width": "3"}),  # a quotation mark that nothing closes is text
    ],
)
def test_a_word_is_a_name_and_its_flags(word: str, name: str, flags: dict[str, str]) -> None:
    assert split_word(word) == (name, flags)
    assert name_of(word) == name


@pytest.mark.parametrize(
    ("word", "part"), [("Box,width", "width"), ("Box,=3", "=3"), ("Box,", ""), ('Box,a=1,"b, c"', '"b, c"')]
)
def test_a_part_that_is_no_flag_with_a_value_is_named(word: str, part: str) -> None:
    with pytest.raises(ValueError) as refusal:
        split_word(word)
    assert str(refusal.value) == part


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("a", ["a"]),
        ("a+b", ["a", "b"]),
        ("", [""]),
        ('Box+"Ball,radius=2"', ["Box", "Ball,radius=2"]),
        ("'a+b'+c", ["a+b", "c"]),
        ('"say \\"a+b\\""+c', ['say "a+b"', "c"]),
    ],
)
def test_items_stand_between_plus_signs_outside_of_quotes(value: str, items: list[str]) -> None:
    assert items_of(value) == items


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"a, b"', "a, b"),
        ("'a, b'", "a, b"),
        ('"a \\"b\\" \\\\"', 'a "b" \\'),
        ("a\\b", "a\\b"),  # a backslash escapes inside quotes alone
        ('"a"+"b"', '"a"+"b"'),  # the quotes are not around all of it
        ('"a', '"a'),
    ],
)
def test_quotes_around_all_of_a_value_go(value: str, text: str) -> None:
    assert unquoted(value) == text


def test_only_what_needs_quotes_gets_them() -> None:
    assert [quoted(text) for text in ("a b", "a,b", "a+b", 'a"b', "a\\b")] == [
        "a b", '"a,b"', '"a+b"', '"a\\"b"', '"a\\\\b"'
    ]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_out_of_its_quotes(text: str) -> None:
    assert unquoted(quoted(text)) == text
    assert items_of(quoted(text)) == [text]


def test_a_word_that_was_put_together_is_taken_apart_again() -> None:
    word = join_word("Bag", {"list": TEXTS, **{f"flag{number}": text for number, text in enumerate(TEXTS)}})
    name, flags = split_word(word)
    assert name == "Bag" and items_of(flags.pop("list")) == TEXTS
    assert [unquoted(value) for value in flags.values()] == TEXTS
    inner = join_word("Box", {"text": 'a, "b" + c'})
    outer = join_word("Bag", {"parts": [inner, "Point"]})
    assert items_of(split_word(outer).flags["parts"]) == [inner, "Point"]

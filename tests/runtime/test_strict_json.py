"""JSON: what the standard reader reads alike, and what it would drop or die of."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.strict_json import RepeatedKeys, parse_json, repeated_keys

CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(CONTENT)
def test_everything_that_json_can_hold_is_read(content):
    assert parse_json(json.dumps(content)) == content


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=5))
def test_an_object_is_read_or_its_repeated_keys_are_named(pairs):
    text = "[{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}]"
    names = [key for key, _ in pairs]
    repeated = {name for name in names if names.count(name) > 1}
    assert set(repeated_keys(pairs)) == repeated
    if repeated:
        with pytest.raises(RepeatedKeys) as error:
            parse_json(text)
        assert set(error.value.keys) == repeated
    else:
        assert parse_json(text) == [dict(pairs)]


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.text(alphabet='[]{}",:0aNeE+-.\\ '))
def test_any_text_is_read_or_a_value_error(text):
    with suppress(ValueError):
        parse_json(text)


def test_keys_of_all_objects_are_named_once():
    with pytest.raises(RepeatedKeys, match=r"^a, b stand twice in it$"):
        parse_json('[{"a": 1, "a": 1}, {"b": 1, "b": 2, "c": {"a": 0, "a": 1}}]')


@pytest.mark.parametrize("text", ["[" * 10_000 + "]" * 10_000, '{"a": ' * 10_000])
def test_what_nests_too_deeply_is_said(text):
    with pytest.raises(ValueError, match=r"^it nests too deeply$"):
        parse_json(text)


def test_a_number_of_too_many_digits_is_said():
    with pytest.raises(ValueError, match=r"^it holds a number of more than 4300 digits$"):
        parse_json("[" + "1" * 5000 + "]")
    assert parse_json("1" * 5000, parse_int=str) == "1" * 5000

"""Secrets of a command line are masked, and nothing else is."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from runtime.masking import holds_credentials, is_secret, masked, without_credentials


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--hub_token abc --seed 7", "--hub_token '***' --seed 7"),
        ("--hub-token=abc", "'--hub-token=***'"),
        ("--hub_token -abc", "--hub_token '***'"),
        ("--hub_token --push_to_hub", "--hub_token --push_to_hub"),
        ("--password 'a b' --api_key=c --SECRET d", "--password '***' '--api_key=***' --SECRET '***'"),
        ("--tokenizer abc --include_num_input_tokens_seen all", "--tokenizer abc --include_num_input_tokens_seen all"),
        ("a=https://me:abc@host/x,b=1", "'a=https://***@host/x,b=1'"),
        ("https://me:a/b@c@host", "'https://***@host'"),
        ("--dataset_path https://h/x?a=1&token=abc&b=2", "--dataset_path 'https://h/x?a=1&token=***&b=2'"),
        ("x=http://h/?X-Amz-Signature=abc,b=1", "'x=http://h/?X-Amz-Signature=***,b=1'"),
        ("http://h/?tokens=a&monkeys=b&q=key", "'http://h/?tokens=a&monkeys=b&q=key'"),
        ("--description 'me@host and https://host/a'", "--description 'me@host and https://host/a'"),
    ],
)
def test_secrets_are_masked(words: str, expected: str) -> None:
    assert shlex.join(masked(shlex.split(words))) == expected


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ("https://me:abc@host", True),
        ("A,elastic_url=https://me@host/x", True),
        ("https://host/x?api_key=abc", True),
        (["a", "https://host?sig=abc"], True),
        ({"a": [{"b": "ftp://me:abc@host"}]}, True),
        ("https://host/a@b", False),
        ("me@host", False),
        ("what is a?key", False),
        (["a", {"b": 3}, None], False),
    ],
)
def test_what_holds_credentials(value: Any, holds: bool) -> None:
    assert holds_credentials(value) is holds


def test_a_message_keeps_all_but_the_credentials() -> None:
    text = "cannot reach https://me:a/b@host/x?token=abc&n=1, nor\nftp://host: see http://h?password='x'"
    assert without_credentials(text) == (
        "cannot reach https://***@host/x?token=***&n=1, nor\nftp://host: see http://h?password='x'"
    )


def test_names_of_secrets() -> None:
    assert all(map(is_secret, ("hub_token", "--hub-token", "WANDB_API_KEY", "password", "token")))
    assert not any(map(is_secret, ("tokenizer", "keys", "monkey", "key_name", "hub_model_id")))

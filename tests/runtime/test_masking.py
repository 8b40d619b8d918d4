"""Secrets of a command line are masked, and nothing else is."""

from __future__ import annotations

import shlex

import pytest

from runtime.masking import is_secret, masked


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
        ("--description 'me@host and https://host/a'", "--description 'me@host and https://host/a'"),
    ],
)
def test_secrets_are_masked(words: str, expected: str) -> None:
    assert shlex.join(masked(shlex.split(words))) == expected


def test_names_of_secrets() -> None:
    assert all(map(is_secret, ("hub_token", "--hub-token", "WANDB_API_KEY", "password", "token")))
    assert not any(map(is_secret, ("tokenizer", "keys", "monkey", "key_name", "hub_model_id")))

"""One Kiwi for all that need it, or the pip command."""

from __future__ import annotations

import sys

import pytest

from runtime import kiwi as module
from runtime.errors import UserError
from runtime.kiwi import kiwi


def test_it_is_loaded_once_and_knows_particles() -> None:
    assert kiwi("a") is kiwi("b")
    assert [(token.form, token.tag) for token in kiwi("a").tokenize("왕이")] == [("왕", "NNG"), ("이", "JKS")]


def test_without_the_package_who_needs_it_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    module._load.cache_clear()
    with pytest.raises(UserError, match=r"^--postprocess needs kiwipiepy \(.*\): pip install kiwipiepy$"):
        kiwi("--postprocess")

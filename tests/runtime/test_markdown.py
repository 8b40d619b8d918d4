"""Text in Markdown is text there, whatever it holds."""

from __future__ import annotations

import pytest

from runtime.markdown import markdown_text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("BM25, 훈민정음 a_b=0.5", "BM25, 훈민정음 a_b=0.5"),
        ("a|b", "a\\|b"),
        ("<img src=x onerror=alert(1)>", "\\<img src=x onerror=alert(1)>"),
        ("![x](http://host/x.png)", "!\\[x](http://host/x.png)"),
        ("`a`", "\\`a\\`"),
        ("a\r\nb\u2028c\x1b[2J", "a b c\\x1b\\[2J"),
    ],
)
def test_nothing_in_a_text_is_markup(text, written):
    assert markdown_text(text) == written

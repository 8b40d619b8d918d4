"""Wiki noise in texts: markup that an export left, taken out without a word of what a reader of the page sees."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace

from loading.corpus import Corpus
from runtime.text import is_blank

_TAGS = (
    "abbr|b|big|blockquote|br|center|cite|code|dd|del|div|dl|dt|em|font|gallery|h[1-6]|hr|i|ins|li|math|noinclude|"
    "nowiki|ol|onlyinclude|p|poem|pre|ref|references|rp|rt|ruby|s|small|span|strike|strong|sub|sup|table|tbody|td|th|"
    "thead|tr|tt|u|ul|var"
)
_FILES = "파일|그림|file|image"

_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\\n(?![a-z])"), "\n"),  # the two characters that some exports have for a line break; \\nu is LaTeX
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE), " "),  # <삼국지> is the title of a book
    # of a picture its caption, of a link what is shown; innermost first
    (re.compile(rf"\[\[\s*(?:{_FILES})\s*:[^\[\]|]*(?:\|[^\[\]|]*?)*?(?:\|([^\[\]|]*))?\]\]", re.IGNORECASE), r"\1"),
    (re.compile(r"\[\[(?:[^\[\]|]*\|)*:?([^\[\]|]*)\]\]"), r"\1"),
    (re.compile(r"\[https?://[^\s\[\]]+(?:\s+([^\[\]]*))?\]"), lambda match: match[1] or ""),
    (re.compile(r"\[(?:주\s?)?\d{1,3}\]|\[(?:편집|출처 필요)\]"), ""),  # footnotes, and what is under headings
    (re.compile(r"\{\{\s*[^{}|]*((?:\|[^{}]*)?)\}\}"), lambda match: _values(match[1])),  # templates
    (re.compile(r"^[ \t]*(?:\{\||\|-|\|\}).*$", re.MULTILINE), ""),  # lines of tables
    (re.compile(r"^[ \t]*[|!](?=\s)|(?<=\s)(?:\|\||!!)(?=\s)", re.MULTILINE), " "),  # cells
    (re.compile(r"'{2,5}(?=\S)([^\n]*?\S)'{2,5}(?!')"), r"\1"),  # bold, italic
    (re.compile(r"^[ \t]*(={2,6})[ \t]*(.*?)[ \t]*\1[ \t]*$", re.MULTILINE), r"\2"),  # headings
    (re.compile(r"\([\s,;·/]*\)"), ""),  # what is left of a template in brackets
    (re.compile(r"[ \t\u00a0\u3000]+"), " "),
    (re.compile(r" ?\n[ \n]*"), "\n"),
]
_NESTED = 8  # markup within markup is taken out layer by layer


def clean(text: str) -> str:
    """Return ``text`` without wiki markup: tags, links, templates, footnotes, headings, tables, repeated blanks.

    Every word that the page shows stays, so that an answer taken from the page is there; of links and templates also
    what they are written with. A text that would be blank stays as it is.
    """
    cleaned = html.unescape(text)
    for _ in range(_NESTED):
        before = cleaned
        for pattern, replacement in _RULES:
            cleaned = pattern.sub(replacement, cleaned)
        if cleaned == before:
            break
    cleaned = cleaned.strip()
    return text if is_blank(cleaned) else cleaned


def clean_corpus(corpus: Corpus) -> Corpus:
    """Return ``corpus`` with every text cleaned."""
    return replace(corpus, texts=list(map(clean, corpus.texts)))


def _values(parameters: str) -> str:
    """Return what the parameters of a template hold, without their names."""
    values = [re.sub(r"^[^=\[\]<>]*=", "", one) for one in parameters.split("|")]
    return " ".join(filter(None, map(str.strip, values)))

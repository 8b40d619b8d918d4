"""Analysers: the exact terms of Korean sentences, and descriptions that tell analysers apart."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from retrieval.analyzers import KiwiAnalyzer, create_analyzer
from runtime.errors import UserError

SENTENCE = "이순신이 1592년, 왕은 물 DA!"


def save_tokenizer(folder, *pieces):
    vocabulary = {piece: row for row, piece in enumerate(["[UNK]", "[CLS]", *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=4, pad_token="[CLS]")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("kiwi", ["이순신", "1592", "년", "왕", "물", "da"]),
        ("whitespace", ["이순신이", "1592년,", "왕은", "물", "da!"]),
        ("bigram", ["이순", "순신", "신이", "15", "59", "92", "2년", "왕은", "물", "da"]),
    ],
)
def test_terms(name, terms):
    analyzer = create_analyzer(name)
    assert analyzer.analyze([SENTENCE, ""]) == [terms, []]
    assert analyzer.analyze([unicodedata.normalize("NFD", SENTENCE)]) == [terms]
    assert analyzer.analyze([]) == []


@pytest.mark.parametrize("name", ["kiwi", "whitespace", "bigram", "wordpiece"])
def test_one_syllable_words_are_kept(name, tmp_path):
    model = save_tokenizer(tmp_path, "왕", "물")
    assert create_analyzer(name, model).analyze(["왕", "물"]) == [["왕"], ["물"]]


def test_kiwi_keeps_irregular_stems_foreign_script_and_addresses():
    assert KiwiAnalyzer().analyze(["大韓民國의 집을 지어서 help@odqa.kr 로 알렸다."]) == [
        ["大韓民國", "집", "짓", "help@odqa.kr", "알리"]
    ]


def test_word_pieces_are_neither_cut_short_nor_padded_nor_unknown(tmp_path):
    analyzer = create_analyzer("wordpiece", save_tokenizer(tmp_path, "조선", "##을", "세운", "왕", "##은"))
    assert analyzer.analyze(["조선을 세운 왕은 누구", "왕"]) == [["조선", "##을", "세운", "왕", "##은"], ["왕"]]


def test_descriptions_tell_analyzers_apart(tmp_path):
    one = create_analyzer("wordpiece", save_tokenizer(tmp_path / "one", "왕"))
    moved = create_analyzer("wordpiece", save_tokenizer(tmp_path / "moved", "왕"))
    other = create_analyzer("wordpiece", save_tokenizer(tmp_path / "other", "강"))
    different = [one, other, *(create_analyzer(name) for name in ("kiwi", "whitespace", "bigram"))]
    assert len({json.dumps(analyzer.description) for analyzer in different}) == 5
    assert one.description == moved.description
    assert {"name", "kiwipiepy", "kiwipiepy_model", "tags"} == set(create_analyzer("kiwi").description)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--analyzer mecab is unknown: choose from kiwi, wordpiece, whitespace, bigram"):
        create_analyzer("mecab")
    with pytest.raises(UserError, match="give --analyzer_model"):
        create_analyzer("wordpiece")
    with pytest.raises(UserError, match=f"--analyzer_model {tmp_path} has no tokenizer that can be loaded: "):
        create_analyzer("wordpiece", str(tmp_path))
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(UserError, match="pip install kiwipiepy"):
        _ = create_analyzer("kiwi").description

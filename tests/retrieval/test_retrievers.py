"""What holds for every retriever, and the folders that indexes are kept in."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.feature_extraction.text  # noqa: F401  (its own imports need the pickle that a test here takes away)
import torch
from comparing import assert_same_ranking
from transformers import BertModel

from arguments import RetrieverArguments
from loading.corpus import Corpus
from retrieval import RETRIEVERS, create_retriever, load_or_build
from retrieval.base import index_folder
from runtime.errors import UserError

BM25, TFIDF, DENSE = "SparseRetrieval_BM25P", "SparseRetrieval_TFIDF", "DenseRetrieval"
HYBRID = "HybridRetrieval"
TOKENS = "MultiVectorRetrieval"
MILVUS = "MilvusRetrieval"
ENCODING = {"pooling": "mean", "normalize": True, "passage_max_len": 64}
VARIANTS = {
    "bm25s kiwi": RetrieverArguments(retriever_type=BM25, analyzer="kiwi"),
    "bm25s kiwi_characters": RetrieverArguments(retriever_type=BM25),
    "bm25s mecab": RetrieverArguments(retriever_type=BM25, analyzer="mecab"),
    "bm25s characters": RetrieverArguments(retriever_type=BM25, analyzer="characters"),
    "bm25s bigram": RetrieverArguments(retriever_type=BM25, analyzer="bigram"),
    "rank_bm25 bigram": RetrieverArguments(retriever_type=BM25, analyzer="bigram", bm25_backend="rank_bm25"),
    "tfidf word": RetrieverArguments(retriever_type=TFIDF, analyzer="bigram", tfidf_features="word"),
    "tfidf char": RetrieverArguments(retriever_type=TFIDF, analyzer="bigram", tfidf_features="char"),
    "tfidf word_char": RetrieverArguments(retriever_type=TFIDF, analyzer="bigram"),
    "dense": RetrieverArguments(retriever_type=DENSE, **ENCODING),
    "dense float16": RetrieverArguments(retriever_type=DENSE, vectors_dtype="float16", **ENCODING),
    "tokens": RetrieverArguments(retriever_type=TOKENS),
    "tokens int8": RetrieverArguments(retriever_type=TOKENS, token_vectors="int8"),
    "tokens binary": RetrieverArguments(retriever_type=TOKENS, token_vectors="binary"),
    "milvus sparse": RetrieverArguments(retriever_type=MILVUS, analyzer="bigram", milvus_vectors="sparse"),
    "milvus dense": RetrieverArguments(retriever_type=MILVUS, milvus_vectors="dense", **ENCODING),
    "milvus hybrid": RetrieverArguments(retriever_type=MILVUS, analyzer="bigram", **ENCODING),
    "elastic": RetrieverArguments(retriever_type="ElasticRetrieval"),
    "sparse encoder": RetrieverArguments(retriever_type="SparseEncoderRetrieval", passage_max_len=64),
}
PARTS = [f"{BM25},analyzer=bigram", f"{DENSE},pooling=mean,normalize=true,passage_max_len=64"]
VARIANTS["hybrid rrf"] = RetrieverArguments(retriever_type=HYBRID, hybrid_retrievers=PARTS, fusion="rrf")
VARIANTS["hybrid weighted"] = RetrieverArguments(retriever_type=HYBRID, hybrid_retrievers=PARTS, fusion_depth=4)
CANDIDATES = {"candidates": f"{BM25},analyzer=bigram", "candidate_depth": 6}
VARIANTS["tokens candidates"] = RetrieverArguments(retriever_type=TOKENS, **CANDIDATES)
ALONE = {
    name: variant
    for name, variant in VARIANTS.items()
    if variant.retriever_type != HYBRID and variant.candidates is None
}
every_variant = pytest.mark.parametrize("arguments", list(VARIANTS.values()), ids=list(VARIANTS), indirect=True)
# the made encoder of token vectors sees places: what it is asked has to stand where it stood
BY_TEXT = {
    name: variant for name, variant in VARIANTS.items() if variant.retriever_type != TOKENS or variant.candidates
}
every_variant_with_its_own_index = pytest.mark.parametrize(
    "arguments", list(ALONE.values()), ids=list(ALONE), indirect=True
)


@pytest.fixture
def arguments(request, bag_of_characters, sparse_characters, characters_in_place, tmp_path_factory):
    """The variant's flags, with an encoder, a server if it needs one, and a folder for work in progress."""
    work = str(tmp_path_factory.mktemp("work"))
    encoder = characters_in_place if request.param.retriever_type == TOKENS else bag_of_characters
    flags = {"retriever_dir": encoder, "sparse_encoder": sparse_characters, "index_dir": work}
    if request.param.retriever_type == "ElasticRetrieval":
        flags["elastic_url"] = request.getfixturevalue("elastic_stub").url
    if request.param.retriever_type == MILVUS:
        flags["milvus_uri"] = request.getfixturevalue("milvus_file")
    return dataclasses.replace(request.param, **flags)


def changed(corpus):
    return Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "마지막 글이 바뀌었다."])


@every_variant
def test_contract(arguments, corpus, tmp_path):
    retriever = create_retriever(arguments)
    assert retriever.name == arguments.retriever_type and retriever.flags is RETRIEVERS[retriever.name].flags
    retriever.build(corpus)

    titles = corpus.titles[:-1]  # the last passage has none
    assert retriever.search(titles, 1).ids.tolist() == [[row] for row in range(len(titles))]
    assert retriever.search(titles, 3).ids.shape == (len(titles), 3)  # k = 3 after k = 1 on the same object
    assert retriever.search(titles[:1], 1).ids.tolist() == [[0]]
    assert retriever.search(titles[4:6], 1).ids.tolist() == [[4], [5]]  # other questions, other passages
    assert retriever.search(titles, 100).ids.shape == (len(titles), len(corpus))
    assert retriever.search([], 3).ids.shape == (0, 3)

    folder = tmp_path / "index"
    retriever.save(folder)
    loaded = create_retriever(arguments)
    loaded.load(folder, corpus)
    before, after = retriever.search(titles, 5), loaded.search(titles, 5)
    assert_same_ranking(after, before)
    assert [part.dtype for part in before] == [part.dtype for part in after]
    with pytest.raises(UserError, match=r"built for something else: corpus_hash is .* or another --index_dir"):
        create_retriever(arguments).load(folder, changed(corpus))


@pytest.mark.parametrize("arguments", list(BY_TEXT.values()), ids=list(BY_TEXT), indirect=True)
def test_a_bare_noun_finds_its_passages(arguments, corpus):
    """No title, no verb, and in the passage a particle is on it."""
    retriever = create_retriever(arguments)
    retriever.build(corpus)
    nouns = {"배추": 4, "화산": 8, "측우기": 1, "판소리": 9}
    if arguments.retriever_type in (BM25, DENSE) and arguments.analyzer != "bigram":  # in which 별을 is not 별
        nouns["별"] = 11
    assert dict(zip(nouns, retriever.search(list(nouns), 1).ids[:, 0].tolist(), strict=True)) == nouns


EXPLAINING = {
    name: variant for name, variant in VARIANTS.items() if variant.retriever_type not in (MILVUS, "ElasticRetrieval")
}


@pytest.mark.parametrize("arguments", list(EXPLAINING.values()), ids=list(EXPLAINING), indirect=True)
def test_the_parts_of_a_score_add_up_to_it(arguments, corpus):
    retriever = create_retriever(arguments)
    retriever.build(corpus)
    for question in (*corpus.titles[1:4], "서울의 강과 달", "없는말뿐"):
        ids, scores = (part[0].tolist() for part in retriever.search([question], 5))
        rows = [*ids, *(row for row in range(len(corpus)) if row not in ids)]
        parts = retriever.explain(question, rows, 5).parts
        sums = [sum(part.score for part in of_passage) for of_passage in parts]
        assert sums[: len(ids)] == pytest.approx(scores, rel=1e-4, abs=1e-6)
        assert max(sums[len(ids) :]) <= scores[-1] + 1e-5  # of those that were not found
        for of_passage in parts:
            assert [part.score for part in of_passage] == sorted((part.score for part in of_passage), reverse=True)


@every_variant
def test_an_index_is_free_of_pickle_and_describes_itself(arguments, corpus, tmp_path, monkeypatch):
    retriever = create_retriever(arguments)
    monkeypatch.setattr("pickle.Pickler", None)
    monkeypatch.setattr("pickle.dump", None)
    retriever.build(corpus)
    retriever.save(tmp_path / "index")
    files = [path for path in (tmp_path / "index").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".npy", ".npz"}
    manifest = json.loads((tmp_path / "index/manifest.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == 1
    assert manifest["retriever"] == arguments.retriever_type
    assert manifest["parameters"] == retriever.parameters()
    assert (manifest["corpus_size"], manifest["corpus_hash"]) == (len(corpus), corpus.hash)
    assert len(manifest["code_version"]) == 12
    assert list(manifest["library_versions"]) == list(retriever.libraries)


TERMS = [
    name
    for name, variant in ALONE.items()
    if variant.milvus_vectors != "dense" and not name.startswith(("dense", "tokens", "sparse encoder"))
]


@pytest.mark.parametrize("arguments", [VARIANTS[name] for name in TERMS], ids=TERMS, indirect=True)
def test_other_forms_of_the_same_characters_meet(arguments, tmp_path):
    arguments = dataclasses.replace(arguments, milvus_vectors="sparse")
    plain = ["부산 항구 이야기", "KBS는 1927년에 개국하였다", "높이 100cm 나무", "정치·경제를 다룬다", "대한민국 정부"]
    odd = [
        unicodedata.normalize("NFD", plain[0]),
        "ＫＢＳ는 １９２７년에 개국하였다",
        "높이 100㎝ 나무",
        "정치ㆍ경제를 다룬다",
        "대한\u00ad민국 정부\u200b",
    ]
    questions = ["부산", "KBS 1927년", "100cm", "정치·경제", "대한민국"]
    odd_questions = [
        "\ufeff부산",
        "ＫＢＳ １９２７년",
        "１００㎝",
        "정치・경제",
        unicodedata.normalize("NFD", "대한\u200b민국"),
    ]
    found = []
    for number, texts in enumerate((plain, odd)):
        retriever = create_retriever(dataclasses.replace(arguments, index_dir=str(tmp_path / str(number))))
        retriever.build(Corpus(list("abcde"), ["", "방송", "", "", ""], texts))
        found += [retriever.search(asked, 5) for asked in (questions, odd_questions)]
    assert found[0].ids[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (found[0].scores[:, 0] > found[0].scores[:, 1]).all()
    for other in found[1:]:
        np.testing.assert_array_equal(other.ids, found[0].ids)
        np.testing.assert_allclose(other.scores, found[0].scores, rtol=1e-5)


@pytest.mark.parametrize("arguments", [VARIANTS[name] for name in TERMS], ids=TERMS, indirect=True)
def test_terms_of_text_folded_otherwise_are_another_index(arguments, corpus, tmp_path, monkeypatch):
    module = type(create_retriever(arguments)).__module__
    before = index_folder(create_retriever(arguments), corpus, tmp_path)
    monkeypatch.setattr(f"{module}.FOLD_VERSION", 0)
    assert index_folder(create_retriever(arguments), corpus, tmp_path) != before


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        ({"bm25_k1": 1.5}, "parameters k1 is 0.9 there and 1.5 here"),
        ({"bm25_b": 0.5, "bm25_delta": 0.0}, "parameters b is 0.75 there and 0.5 here; parameters delta is 1.0 there"),
        ({"bm25_backend": "rank_bm25"}, "parameters backend is 'bm25s' there and 'rank_bm25' here"),
        ({"analyzer": "bigram"}, "parameters analyzer name is 'whitespace' there and 'bigram' here"),
        ({"retriever_type": TFIDF}, f"retriever is '{BM25}' there and '{TFIDF}' here"),
    ],
)
def test_an_index_refuses_other_parameters(arguments, difference, corpus, tmp_path):
    saved = RetrieverArguments(analyzer="whitespace")
    load_or_build(create_retriever(saved), corpus, tmp_path)
    (folder,) = tmp_path.iterdir()
    other = create_retriever(dataclasses.replace(saved, **arguments))
    with pytest.raises(UserError, match=difference):
        other.load(folder, corpus)
    load_or_build(other, corpus, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_load_or_build_builds_once_for_every_corpus(corpus, tmp_path, log_lines):
    arguments = RetrieverArguments(analyzer="bigram")
    built = load_or_build(create_retriever(arguments), corpus, tmp_path)
    (folder,) = tmp_path.iterdir()
    name, key = folder.name.rsplit("-", 1)
    assert name == BM25
    assert len(key) == 16
    assert int(key, 16)
    loaded = load_or_build(create_retriever(arguments), corpus, tmp_path)
    assert loaded.search(["서울"], 3).ids.tolist() == built.search(["서울"], 3).ids.tolist()
    assert log_lines == [f"INFO index {folder}: built over 12 passages and saved", f"INFO index {folder}: loaded"]
    load_or_build(create_retriever(arguments), changed(corpus), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@every_variant_with_its_own_index
@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_damaged_index_is_built_anew(arguments, damage, corpus, tmp_path, log_lines, monkeypatch):
    monkeypatch.setattr("retrieval.time", SimpleNamespace(perf_counter=lambda: 0.0))  # the manifest holds a duration
    expected = load_or_build(create_retriever(arguments), corpus, tmp_path).search(["서울"], 3)
    (folder,) = tmp_path.iterdir()
    for name in sorted(path.name for path in folder.iterdir()):
        path = folder / name
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        log_lines.clear()
        retriever = load_or_build(create_retriever(arguments), corpus, tmp_path)
        assert retriever.search(["서울"], 3).ids.tolist() == expected.ids.tolist()
        assert log_lines[0].startswith(f"WARNING index {folder} cannot be used and is rebuilt: {name} is ") or (
            name == "checksums.json" and "is not as it was written" in log_lines[0]
        )
        assert log_lines[-1] == f"INFO index {folder}: built over 12 passages and saved"
        assert path.read_bytes() == content
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("arguments", [VARIANTS["elastic"], VARIANTS["milvus sparse"]], indirect=True)
def test_a_server_that_fails_is_no_damage(arguments, corpus, tmp_path, log_lines, monkeypatch):
    load_or_build(create_retriever(arguments), corpus, tmp_path)
    (folder,) = tmp_path.iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    log_lines.clear()
    retriever = create_retriever(arguments)

    def fail(*_, **__):
        raise UserError("the server is too busy to search")

    monkeypatch.setattr(type(retriever), "_is_complete", fail)
    with pytest.raises(UserError, match="the server is too busy to search"):
        load_or_build(retriever, corpus, tmp_path)
    assert log_lines == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_manifest_keeps_how_long_the_build_took(corpus, tmp_path, monkeypatch):
    seconds = iter([10.0, 12.345])
    monkeypatch.setattr("retrieval.time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    arguments = RetrieverArguments(analyzer="bigram")
    load_or_build(create_retriever(arguments), corpus, tmp_path)
    loaded = load_or_build(create_retriever(arguments), corpus, tmp_path)  # asks no clock
    manifest = json.loads((index_folder(loaded, corpus, tmp_path) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["build_seconds"] == pytest.approx(2.345)
    assert not hasattr(loaded, "build_seconds")


def test_a_hybrid_shares_the_indexes_of_its_parts(corpus, tmp_path):
    alone = create_retriever(RetrieverArguments(retriever_type=f"{BM25},analyzer=bigram"))
    load_or_build(alone, corpus, tmp_path)
    parts = [f"{BM25},analyzer=bigram", f"{TFIDF},tfidf_features=char"]
    hybrid = create_retriever(RetrieverArguments(retriever_type=HYBRID, hybrid_retrievers=parts))
    load_or_build(hybrid, corpus, tmp_path)
    assert [hasattr(part, "build_seconds") for part in hybrid.parts] == [False, True]
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == [BM25, TFIDF]
    assert hybrid.search(["세종대왕"], 1).ids.tolist() == [[1]]


def test_a_build_that_fails_leaves_nothing(corpus, tmp_path, monkeypatch):
    retriever = create_retriever(RetrieverArguments(analyzer="bigram"))
    monkeypatch.setattr("retrieval.base._code_version", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_or_build(retriever, corpus, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("bm25", "did you mean SparseRetrieval_BM25P?"),
        ("SparseRetrieval", "did you mean SparseRetrieval_BM25P or SparseRetrieval_TFIDF?"),
        ("SparseRetrieval_BM52P,bm25_b=0.4", "did you mean SparseRetrieval_BM25P?"),
        ("whatever", f"choose from: {', '.join(RETRIEVERS)}"),
        ("", f"choose from: {', '.join(RETRIEVERS)}"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_or_all(name, way_out):
    with pytest.raises(UserError) as caught:
        create_retriever(RetrieverArguments(retriever_type=name))
    assert str(caught.value) == f"no retriever is named {name.split(',')[0]}; {way_out}"


def test_wordpiece_falls_back_to_the_readers_tokenizer():
    with pytest.raises(UserError, match=r"--analyzer_model \./nowhere: no tokenizer"):
        create_retriever(RetrieverArguments(analyzer="wordpiece"), "./nowhere")
    with pytest.raises(UserError, match=r"--analyzer_model \./given: no tokenizer"):
        create_retriever(RetrieverArguments(analyzer="wordpiece", analyzer_model="./given"), "./nowhere")


@pytest.mark.parametrize("package", ["bm25s", "rank_bm25"])
def test_a_missing_engine_names_the_pip_command(package, corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    retriever = create_retriever(RetrieverArguments(analyzer="bigram", bm25_backend=package))
    with pytest.raises(UserError, match=f"pip install {package}"):
        retriever.build(corpus)


def test_importing_retrieval_loads_no_engine():
    engines = ["bm25s", "rank_bm25", "kiwipiepy", "mecab_ko", "sklearn.feature_extraction"]
    command = f"import sys, retrieval; print([name for name in {engines} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"
    assert output.stderr == ""


@pytest.mark.parametrize("name", ["dense", "tokens", "sparse encoder"])
def test_too_little_memory_names_the_flag(
    name, corpus, bag_of_characters, sparse_characters, characters_in_place, tmp_path, monkeypatch
):
    encoder = characters_in_place if name == "tokens" else bag_of_characters
    flags = {"retriever_dir": encoder, "sparse_encoder": sparse_characters, "index_dir": str(tmp_path)}
    retriever = create_retriever(dataclasses.replace(VARIANTS[name], **flags))
    retriever.build(corpus)

    def too_large(*inputs, **others):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(BertModel, "forward", too_large)
    with pytest.raises(UserError, match=r"not enough memory \(CUDA out of memory\): lower --encode_batch_size$"):
        retriever.search(["달"], 1)

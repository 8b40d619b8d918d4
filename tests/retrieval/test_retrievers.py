"""What holds for every retriever, and the folders that indexes are kept in."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from arguments import RetrieverArguments
from retrieval import RETRIEVERS, create_retriever, load_or_build
from retrieval.corpus import Corpus
from runtime.errors import UserError

BM25, TFIDF = "SparseRetrieval_BM25P", "SparseRetrieval_TFIDF"
VARIANTS = {
    "bm25s kiwi": RetrieverArguments(retriever_type=BM25),
    "bm25s bigram": RetrieverArguments(retriever_type=BM25, analyzer="bigram"),
    "rank_bm25 bigram": RetrieverArguments(retriever_type=BM25, analyzer="bigram", bm25_backend="rank_bm25"),
    "tfidf word": RetrieverArguments(retriever_type=TFIDF, analyzer="bigram", tfidf_features="word"),
    "tfidf char": RetrieverArguments(retriever_type=TFIDF, analyzer="bigram", tfidf_features="char"),
    "tfidf word_char": RetrieverArguments(retriever_type=TFIDF, analyzer="bigram"),
}
every_variant = pytest.mark.parametrize("arguments", list(VARIANTS.values()), ids=list(VARIANTS))


def changed(corpus):
    return Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "마지막 글이 바뀌었다."])


@every_variant
def test_contract(arguments, corpus, tmp_path):
    retriever = create_retriever(arguments)
    assert type(retriever) is RETRIEVERS[arguments.retriever_type]
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
    for before, after in zip(retriever.search(titles, 5), loaded.search(titles, 5), strict=True):
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype
    with pytest.raises(UserError, match=r"built for something else: corpus_hash is .* or another --index_dir"):
        create_retriever(arguments).load(folder, changed(corpus))


@every_variant
def test_an_index_is_free_of_pickle_and_describes_itself(arguments, corpus, tmp_path, monkeypatch):
    retriever = create_retriever(arguments)
    monkeypatch.setattr("pickle.Pickler", None)
    monkeypatch.setattr("pickle.dump", None)
    retriever.build(corpus)
    retriever.save(tmp_path / "index")
    assert {path.suffix for path in (tmp_path / "index").iterdir()} <= {".json", ".npy", ".npz"}
    manifest = json.loads((tmp_path / "index/manifest.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == 1
    assert manifest["retriever"] == arguments.retriever_type
    assert manifest["parameters"] == retriever.parameters()
    assert (manifest["corpus_size"], manifest["corpus_hash"]) == (len(corpus), corpus.hash)
    assert len(manifest["code_version"]) == 12
    assert list(manifest["library_versions"]) == list(retriever.libraries)


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        ({"bm25_k1": 0.9}, "parameters k1 is 1.5 there and 0.9 here"),
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


@every_variant
@pytest.mark.parametrize("damage", ["empty", "truncated", "missing", "swapped"])
def test_a_damaged_index_is_built_anew(arguments, damage, corpus, tmp_path, log_lines):
    expected = load_or_build(create_retriever(arguments), corpus, tmp_path).search(["서울"], 3)
    (folder,) = tmp_path.iterdir()
    for name in sorted(path.name for path in folder.iterdir()):
        path = folder / name
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes({"empty": b"", "truncated": content[:-5], "swapped": b"[]" * 40}[damage])
        log_lines.clear()
        retriever = load_or_build(create_retriever(arguments), corpus, tmp_path)
        # Files that only repeat what others hold may be damaged without harm.
        assert retriever.search(["서울"], 3).ids.tolist() == expected.ids.tolist()
        if log_lines != [f"INFO index {folder}: loaded"]:
            assert log_lines[0].startswith(f"WARNING index {folder} is damaged and is built anew: ")
            assert log_lines[1] == f"INFO index {folder}: built over 12 passages and saved"
            assert (folder / name).read_bytes() == content
        else:
            path.write_bytes(content)
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_build_that_fails_leaves_nothing(corpus, tmp_path, monkeypatch):
    retriever = create_retriever(RetrieverArguments(analyzer="bigram"))
    monkeypatch.setattr("retrieval.base._code_version", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_or_build(retriever, corpus, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_list_the_choices():
    with pytest.raises(UserError) as caught:
        create_retriever(RetrieverArguments(retriever_type="BM25"))
    assert str(caught.value) == (
        "--retriever_type BM25 cannot be built: "
        "choose from SparseRetrieval_BM25P, SparseRetrieval_TFIDF, get_retrieved_df, none"
    )


def test_wordpiece_falls_back_to_the_readers_tokenizer():
    with pytest.raises(UserError, match=r"--analyzer_model \./nowhere has no tokenizer"):
        create_retriever(RetrieverArguments(analyzer="wordpiece"), "./nowhere")
    with pytest.raises(UserError, match=r"--analyzer_model \./given has no tokenizer"):
        create_retriever(RetrieverArguments(analyzer="wordpiece", analyzer_model="./given"), "./nowhere")


@pytest.mark.parametrize("package", ["bm25s", "rank_bm25"])
def test_a_missing_engine_names_the_pip_command(package, corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    retriever = create_retriever(RetrieverArguments(analyzer="bigram", bm25_backend=package))
    with pytest.raises(UserError, match=f"pip install {package}"):
        retriever.build(corpus)


def test_importing_retrieval_loads_no_engine():
    engines = ["bm25s", "rank_bm25", "kiwipiepy", "sklearn.feature_extraction", "scipy.sparse.linalg"]
    command = f"import sys, retrieval; print([name for name in {engines} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"
    assert output.stderr == ""

"""Retrieval by Milvus, embedded and against milvus-lite's server on this machine."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_same_ranking

from arguments import RetrieverArguments
from loading.corpus import Corpus
from retrieval import create_retriever, load_or_build, milvus
from retrieval.analysis import analyze_corpus
from retrieval.milvus_server import MilvusServer
from runtime.command_line import FlagError
from runtime.errors import UserError


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(URL, folder) of a server of milvus-lite in another process."""
    folder = tmp_path_factory.mktemp("milvus") / "served.db"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder), "--host", "127.0.0.1"]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(port):
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", folder
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(params=["milvus_file", "served"])
def uri(request):
    """Both; a server without what other tests have left there."""
    if request.param == "milvus_file":
        yield request.getfixturevalue("milvus_file")
        return
    server = MilvusServer(request.getfixturevalue("served")[0])
    yield server.uri
    server.connect()
    for collection in server("list_collections"):
        server("drop_collection", collection)


@pytest.fixture
def flags(tmp_path, encoder_path):
    return RetrieverArguments(
        retriever_type="MilvusRetrieval",
        analyzer="whitespace",
        retriever_dir=encoder_path,
        pooling="mean",
        passage_max_len=128,
        index_dir=str(tmp_path / "index"),
    )


@pytest.fixture
def odd_corpus(random_corpus):
    """``random_corpus`` and a passage without terms."""
    rows = len(random_corpus) + 1
    return Corpus([str(row) for row in range(rows)], [""] * rows, [*random_corpus.texts, " "])


def retriever(flags, uri, vectors, **others):
    return create_retriever(dataclasses.replace(flags, milvus_uri=uri, milvus_vectors=vectors, **others))


def alone(flags, name, corpus, **others):
    found = create_retriever(dataclasses.replace(flags, retriever_type=name, **others))
    found.build(corpus)
    return found


def collections(uri):
    server = MilvusServer(uri)
    server.connect()
    return sorted(server("list_collections"))


@pytest.fixture
def calls(monkeypatch):
    """The methods that servers are asked for, in order."""
    asked = []

    def counted(server, method, *args, **options):
        asked.append(method)
        return original(server, method, *args, **options)

    original = MilvusServer.__call__
    monkeypatch.setattr(MilvusServer, "__call__", counted)
    return asked


# ------------------------------------------------------------------------------------------------------------- results


def test_sparse_vectors_score_as_bm25plus(uri, flags, odd_corpus, questions, monkeypatch):
    monkeypatch.setattr(milvus, "_SEARCHED", 7)  # questions in one message, so that there are several
    monkeypatch.setattr(milvus, "_INSERTED", 20)
    flags = dataclasses.replace(flags, bm25_k1=0.9, bm25_b=0.6, bm25_delta=0.7)
    sparse = retriever(flags, uri, "sparse")
    sparse.build(odd_corpus)
    bm25 = alone(flags, "SparseRetrieval_BM25P", odd_corpus)
    for k in (3, 51, 1000):
        found, expected = sparse.search(questions, k), bm25.search(questions, k)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6, atol=1e-6)
        assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float32)


@pytest.mark.usefixtures("fp32")
def test_dense_vectors_are_those_of_dense_retrieval(uri, flags, random_corpus, questions):
    dense = alone(flags, "DenseRetrieval", random_corpus)
    found = retriever(flags, uri, "dense")
    found.build(random_corpus)
    for k in (3, 50):
        assert_same_ranking(found.search(questions, k), dense.search(questions, k))


@pytest.mark.usefixtures("fp32")
def test_the_server_fuses_both_by_reciprocal_ranks(uri, flags, random_corpus, questions):
    corpus = Corpus(random_corpus.document_ids[:45], random_corpus.titles[:45], random_corpus.texts[:45])
    depth = 6
    hybrid = retriever(flags, uri, "hybrid", fusion_depth=depth)
    hybrid.build(corpus)
    parts = [
        alone(flags, "SparseRetrieval_BM25P", corpus, bm25_delta=0.0).search(questions, 45),
        alone(flags, "DenseRetrieval", corpus).search(questions, 45),
    ]
    clear = [
        row
        for row in range(len(questions))
        if all(len(set(found.scores[row, : depth + 1].round(4))) == depth + 1 for found in parts)
    ]
    assert len(clear) > 5
    clear.append(len(questions) - 1)  # which has no terms: the encoder's ranks are all there is
    found = hybrid.search([questions[row] for row in clear], 4)
    for number, row in enumerate(clear):
        points = np.zeros(45)
        for part, matches in zip(parts, (parts[0].scores[row] > 0, np.full(45, True)), strict=True):
            for rank, passage in enumerate(part.ids[row][matches][:depth], start=1):
                points[passage] += 1 / (60 + rank)
        expected = np.lexsort((np.arange(45), -points.round(7)))[:4]
        np.testing.assert_array_equal(found.ids[number], expected)
        np.testing.assert_allclose(found.scores[number], points[expected], rtol=1e-5)
    assert hybrid.search(questions, 100).ids.shape == (len(questions), 45)
    assert hybrid.search(questions[-1:], 10).ids.shape == (1, 10)  # deeper than the depth


def test_more_results_than_milvus_returns_are_refused(milvus_file, flags, odd_corpus, monkeypatch):
    found = retriever(flags, milvus_file, "sparse")
    found.build(odd_corpus)
    monkeypatch.setattr(milvus, "MOST_RESULTS", 20)
    assert found.search(["왕"], 20).ids.shape == (1, 20)
    with pytest.raises(UserError) as caught:
        found.search(["왕"], 21)
    assert str(caught.value) == "Milvus finds at most 20 passages per question: lower --top_k_retrieval 21"


# ------------------------------------------------------------------------------------------------- whole or not at all


def test_a_killed_insertion_is_built_anew(milvus_file, flags, odd_corpus, questions, tmp_path, calls):
    arguments = dataclasses.replace(flags, milvus_uri=milvus_file, milvus_vectors="sparse")
    code = f"""
import os, signal
from arguments import RetrieverArguments
from retrieval import create_retriever, load_or_build, milvus
from loading.corpus import Corpus
from retrieval.milvus_server import MilvusServer

def insert(server, method, *args, **options):
    result = original(server, method, *args, **options)
    inserted.extend(["batch"] * (method == "insert"))
    if len(inserted) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

inserted, original, milvus._INSERTED = [], MilvusServer.__call__, 10
MilvusServer.__call__ = insert
arguments = RetrieverArguments(**{dataclasses.asdict(arguments)!r})
load_or_build(create_retriever(arguments), Corpus(**{dataclasses.asdict(odd_corpus)!r}), arguments.index_dir)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(milvus.__file__).parents[1])}
    died = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr

    found = retriever(flags, milvus_file, "sparse")
    (leftover,) = collections(milvus_file)
    load_or_build(found, odd_corpus, flags.index_dir)
    assert leftover.startswith(f"{found.collection}_")
    assert collections(milvus_file) == [found.collection]
    expected = alone(flags, "SparseRetrieval_BM25P", odd_corpus).search(questions, 5)
    np.testing.assert_array_equal(found.search(questions, 5).ids, expected.ids)


def test_on_a_server_what_another_run_inserts_is_left_alone(served, flags, corpus, log_lines):
    url, _ = served
    found = retriever(flags, url, "sparse")
    found.server.connect()
    found._open(corpus)
    other = f"{found.collection}_0123abcd"
    found.server("create_collection", other, dimension=2)
    found.build(corpus)
    assert log_lines == [f"WARNING {url}: collection {other} is being filled, or was left by a killed run"]
    assert set(collections(url)) >= {other, found.collection}
    found.server("drop_collection", other)
    found.server("drop_collection", found.collection)


def test_a_complete_collection_serves_every_machine(uri, flags, corpus, tmp_path, calls):
    first = load_or_build(retriever(flags, uri, "hybrid"), corpus, tmp_path / "one")
    expected = first.search(corpus.titles[:-1], 3)
    assert calls.count("insert") == 1

    calls.clear()
    again = load_or_build(retriever(flags, uri, "hybrid"), corpus, tmp_path / "one")
    other = load_or_build(
        retriever(flags, uri, "hybrid", index_dir=str(tmp_path / "elsewhere")), corpus, tmp_path / "two"
    )
    for same in (again, other):
        np.testing.assert_array_equal(same.search(corpus.titles[:-1], 3).ids, expected.ids)
    assert "insert" not in calls
    assert not (tmp_path / "elsewhere").exists()  # nothing was encoded there


def test_the_first_of_two_machines_to_finish_wins(uri, flags, corpus, calls):
    first, second = retriever(flags, uri, "sparse"), retriever(flags, uri, "sparse")
    first.build(corpus)
    second._open(corpus)
    second._number_terms(first.frequencies)
    second._insert(analyze_corpus(second.analyzer, corpus, None))
    assert calls.count("insert") == 2
    assert calls.count("rename_collection") == 1
    assert collections(uri) == [first.collection]


def test_an_insertion_that_fails_leaves_nothing(uri, flags, corpus, monkeypatch):
    def interrupted(server, method, *args, **options):
        if method == "flush":
            raise KeyboardInterrupt
        return original(server, method, *args, **options)

    original = MilvusServer.__call__
    monkeypatch.setattr(MilvusServer, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        retriever(flags, uri, "sparse").build(corpus)
    assert collections(uri) == []


def test_a_collection_that_lost_a_passage_is_built_anew(uri, flags, corpus, tmp_path, log_lines):
    found = load_or_build(retriever(flags, uri, "sparse"), corpus, tmp_path / "index")
    found.server("delete", found.collection, ids=[3])
    log_lines.clear()
    found = load_or_build(retriever(flags, uri, "sparse"), corpus, tmp_path / "index")
    assert log_lines[0].endswith(f"is rebuilt: {uri} holds no complete collection {found.collection}")
    assert found.search(["백두산"], 1).ids.tolist() == [[3]]


def test_collections_of_other_corpora_and_vectors_stand_side_by_side(milvus_file, flags, corpus, calls):
    shorter = Corpus(corpus.document_ids[:5], corpus.titles[:5], corpus.texts[:5])
    names = []
    for passages, vectors, others in (
        (corpus, "sparse", {}),
        (shorter, "sparse", {}),
        (corpus, "sparse", {"bm25_k1": 1.0}),
        (corpus, "hybrid", {}),
        (corpus, "hybrid", {"fusion_depth": 5}),  # of no effect on what is stored
        (corpus, "sparse", {"bm25_delta": 0.5}),
    ):
        found = retriever(flags, milvus_file, vectors, **others)
        found.build(passages)
        assert found.search(["왕"], 20).ids.shape == (1, len(passages))
        names.append(found.collection)
    assert len(set(names)) == 4
    assert collections(milvus_file) == sorted(set(names))
    assert calls.count("insert") == 4


# -------------------------------------------------------------------------------------------------------------- errors


def test_a_server_that_is_away_is_named(flags, corpus, monkeypatch, capfd):
    import pymilvus

    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    client = pymilvus.MilvusClient
    monkeypatch.setattr(pymilvus, "MilvusClient", lambda uri, token: client(uri, token=token, timeout=0.5))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(UserError) as caught:
            retriever(flags, uri, "sparse").build(corpus)
    message = str(caught.value)
    assert message.startswith(f"no Milvus server answers at --milvus_uri {uri} (")
    assert message.endswith("): start it, or correct the URL; where it asks for a token, set MILVUS_TOKEN")
    assert "secret" not in message
    assert capfd.readouterr() == ("", "")


def test_a_token_comes_from_the_environment_and_goes_to_servers_alone(milvus_file, monkeypatch):
    import pymilvus

    given = []
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    monkeypatch.setattr(pymilvus, "MilvusClient", lambda uri, token: given.append(token))
    for uri in ("http://127.0.0.1:1", milvus_file):
        MilvusServer(uri).connect()
    assert given == ["root:secret", ""]


def test_what_the_server_refuses_is_one_sentence(milvus_file, capfd):
    server = MilvusServer(milvus_file)
    server.connect()
    with pytest.raises(UserError) as caught:
        server("search", "nothing", [[1.0, 2.0]])
    assert str(caught.value).startswith(f"Milvus at {milvus_file} failed to search: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_another_process_has_open_is_named(served, flags, corpus, capfd):
    _, folder = served
    with pytest.raises(UserError) as caught:
        retriever(flags, str(folder), "sparse").build(corpus)
    assert str(caught.value) == (
        f"--milvus_uri {folder} cannot be opened: it must be a folder that milvus-lite 3 wrote, and one process at a "
        "time can have it; end the other, or share it by 'milvus-lite server' and its URL"
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("module", "package"), [("pymilvus", "pymilvus"), ("milvus_lite", "milvus-lite")])
def test_a_missing_package_names_the_pip_command(module, package, flags, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"pip install {package}$"):
        retriever(flags, str(tmp_path / "milvus.db"), "sparse").build(corpus)


@pytest.mark.parametrize("uri", ["outputs/milvus", "host:19530", "http://host/milvus.db"])
def test_a_uri_is_a_file_or_a_url(uri, flags, corpus):
    with pytest.raises(UserError) as caught:
        retriever(flags, uri, "sparse").build(corpus)
    assert str(caught.value) == f"--milvus_uri {uri} must be a path that ends in .db, or a URL as http://host:19530"


@pytest.mark.parametrize(
    "uri", ["http://root:secret@host:19530", "https://secret@host/a.db", "tcp://:secret@host", "root:secret@host:1"]
)
def test_credentials_are_refused_in_a_uri(uri):
    with pytest.raises(FlagError) as caught:
        RetrieverArguments(milvus_uri=uri)
    assert str(caught.value) == (
        "--milvus_uri must not hold credentials: set MILVUS_TOKEN (a token, or user:password) in the environment"
    )
    assert RetrieverArguments(milvus_uri="./me@home:1/milvus.db").milvus_uri == "./me@home:1/milvus.db"

"""ElasticRetrieval against a stub of the server: what is asked, what is made of the answers, what a user is told."""

from __future__ import annotations

import json
import sys
import unicodedata

import numpy as np
import pytest
from elastic_stub import Refusal

from arguments import RetrieverArguments
from loading.corpus import Corpus
from retrieval import create_retriever, load_or_build
from retrieval.base import identity, top_k
from retrieval.elastic import ElasticRetrieval
from runtime.errors import UserError

SETTINGS = {
    "index": {
        "number_of_shards": 1,
        "number_of_replicas": 0,
        "similarity": {"bm25": {"type": "BM25", "k1": 1.3, "b": 0.5}},
    },
    "analysis": {
        "tokenizer": {
            "ko": {
                "type": "nori_tokenizer",
                "decompound_mode": "mixed",
                "user_dictionary_rules": ["세종시 세종 시", "측우기"],
            },
            "ko_question": {
                "type": "nori_tokenizer",
                "decompound_mode": "discard",
                "user_dictionary_rules": ["세종시 세종 시", "측우기"],
            },
        },
        "filter": {"pos_stop": {"type": "nori_part_of_speech"}},
        "analyzer": {
            "ko": {"type": "custom", "tokenizer": "ko", "filter": ["pos_stop", "nori_readingform", "lowercase"]},
            "ko_question": {
                "type": "custom",
                "tokenizer": "ko_question",
                "filter": ["pos_stop", "nori_readingform", "lowercase"],
            },
        },
    },
}
TEXT = {"type": "text", "analyzer": "ko", "search_analyzer": "ko_question", "similarity": "bm25"}
PROPERTIES = {"row": {"type": "integer"}, "document_id": {"type": "keyword"}, "title": TEXT, "text": TEXT}


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr("retrieval.elastic_server.time.sleep", waited.append)
    return waited


@pytest.fixture
def blocks_of_five(monkeypatch):
    monkeypatch.setattr("retrieval.elastic._BLOCK", 5)


def titles(stub):
    return [request.title for request in stub.requests]


def only_index(stub):
    (index,) = stub.indices.values()
    return index


# ------------------------------------------------------------------------------------------------------- the requests


@pytest.mark.usefixtures("blocks_of_five")
def test_building_creates_sends_refreshes_counts_and_only_then_marks_the_index(elastic_stub, corpus, tmp_path):
    rules = tmp_path / "rules.txt"
    rules.write_text("# 지명\n세종시 세종 시\n\n 측우기 \n", encoding="utf-8-sig")  # as editors on Windows save it
    retriever = create_retriever(
        RetrieverArguments(
            retriever_type="ElasticRetrieval",
            elastic_url=elastic_stub.url,
            elastic_index="team-corpus",
            elastic_user_dictionary=str(rules),
            bm25_k1=1.3,
            bm25_b=0.5,
        )
    )
    retriever.build(corpus)

    assert titles(elastic_stub) == [
        "GET /team-corpus/_mapping",
        "PUT /team-corpus",
        *["PUT /team-corpus/_bulk"] * 3,
        "POST /team-corpus/_refresh",
        "POST /team-corpus/_count",
        "GET /team-corpus/_mapping",
        "PUT /team-corpus/_mapping",
    ]
    meta = {"odqa": {"identity": identity(retriever, corpus), "complete": False}}
    assert elastic_stub.requests[1].body == {
        "settings": SETTINGS,
        "mappings": {"_meta": meta, "dynamic": "strict", "properties": PROPERTIES},
    }
    assert meta["odqa"]["identity"]["corpus_hash"] == corpus.hash
    assert elastic_stub.requests[8].body == {"_meta": {"odqa": {**meta["odqa"], "complete": True}}}
    sent = [line for request in elastic_stub.requests[2:5] for line in request.body]
    assert [len(request.body) for request in elastic_stub.requests[2:5]] == [10, 10, 4]
    assert sent[10:12] == [
        {"index": {"_id": "5"}},
        {"row": 5, "document_id": "105", "title": "거북선", "text": corpus.texts[5]},
    ]
    assert [line["index"]["_id"] for line in sent[::2]] == [str(row) for row in range(12)]


@pytest.mark.usefixtures("blocks_of_five")
def test_questions_are_sent_in_blocks_and_answered_in_their_order(elastic_stub, random_corpus, questions):
    retriever = ElasticRetrieval(elastic_stub.url)
    retriever.build(random_corpus)
    elastic_stub.requests.clear()
    results = retriever.search(questions, 50)

    assert titles(elastic_stub) == [f"POST /{retriever.index}/_msearch"] * 7  # of 32 questions
    assert elastic_stub.requests[0].body[:2] == [
        {},
        {
            "query": {"multi_match": {"query": questions[0], "type": "most_fields", "fields": ["title", "text"]}},
            "sort": [{"_score": "desc"}, {"row": "asc"}],
            "size": 50,
            "_source": False,
            "track_total_hits": False,
        },
    ]
    scores = np.stack([elastic_stub.scores(only_index(elastic_stub), "text", question) for question in questions])
    expected = top_k(scores, 50)  # where nothing matches, 0 in the order of the rows
    np.testing.assert_array_equal(results.ids, expected.ids)
    np.testing.assert_array_equal(results.scores, expected.scores)
    assert (results.ids.dtype, results.scores.dtype) == (np.int64, np.float32)
    assert sorted({0, 50} & set((scores > 0).sum(axis=1))) == [0]  # every question is filled up, the last wholly
    np.testing.assert_array_equal(retriever.search(questions, 7).ids, expected.ids[:, :7])


def test_the_environment_says_who_asks_and_nothing_written_repeats_it(
    elastic_stub, corpus, tmp_path, monkeypatch, log_lines
):
    def authorization():
        retriever = ElasticRetrieval(elastic_stub.url)
        load_or_build(retriever, corpus, tmp_path)
        return elastic_stub.requests[-1].headers["Authorization"]

    assert authorization() is None
    monkeypatch.setenv("ELASTIC_USER", "kim")
    with pytest.raises(UserError, match="ELASTIC_USER and ELASTIC_PASSWORD only work together"):
        ElasticRetrieval(elastic_stub.url).build(corpus)
    monkeypatch.setenv("ELASTIC_PASSWORD", "s3cret")
    assert authorization() == "Basic a2ltOnMzY3JldA=="
    monkeypatch.setenv("ELASTIC_API_KEY", "k3y")
    assert authorization() == "ApiKey k3y"

    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "elastic.json").read_text()) == {"index": elastic_stub.requests[-1].path.split("/")[1]}
    written = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir()) + "".join(log_lines)
    assert not any(secret in written for secret in ("kim", "s3cret", "k3y", "a2lt"))


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UserError) as caught:
        ElasticRetrieval("https://kim:s3cret@search.example:9200")
    assert str(caught.value) == (
        "--elastic_url must not hold a password: set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, "
        "in the environment"
    )


@pytest.mark.parametrize("url", ["localhost:9200", "http://localhost", "ftp://localhost:9200", "http://:x"])
def test_an_address_without_scheme_host_or_port_is_refused(url):
    with pytest.raises(UserError, match=r"is not the address and port of a server: http://localhost:9200"):
        ElasticRetrieval(url)


@pytest.mark.parametrize("name", ["_all", "*", "odqa-*", "a,b", "Corpus", "-x", "a b", "a/b", ""])
def test_a_name_that_may_stand_for_other_indexes_is_refused(name):
    with pytest.raises(UserError, match=r"--elastic_index .* cannot name an index"):
        ElasticRetrieval("http://localhost:9200", index=name)


def test_a_dictionary_that_cannot_be_read_is_named(tmp_path):
    arguments = RetrieverArguments(retriever_type="ElasticRetrieval", elastic_user_dictionary=str(tmp_path / "no.txt"))
    with pytest.raises(UserError, match=r"--elastic_user_dictionary .*no\.txt cannot be read"):
        create_retriever(arguments)


# ------------------------------------------------------------------------------------------ whose index, and how whole


def test_a_complete_index_is_shared_and_not_sent_again(elastic_stub, corpus, tmp_path, log_lines):
    load_or_build(ElasticRetrieval(elastic_stub.url), corpus, tmp_path / "mine")
    elastic_stub.requests.clear()
    log_lines.clear()
    other = load_or_build(ElasticRetrieval(elastic_stub.url), corpus, tmp_path / "yours")
    assert [title.split("/")[-1] for title in titles(elastic_stub)] == ["_mapping", "_count"]
    assert log_lines[0] == f"INFO index {other.index} on {elastic_stub.url}: complete, nothing to send"
    assert other.search(["한강"], 1).ids.tolist() == [[2]]


def test_other_parameters_have_an_index_of_their_own(elastic_stub, corpus):
    for flags in ({}, {"k1": 1.5}, {"b": 0.4}, {"user_dictionary": ["측우기"]}, {"user_dictionary": ["가"]}):
        ElasticRetrieval(elastic_stub.url, **flags).build(corpus)
    ElasticRetrieval(elastic_stub.url).build(Corpus(["1"], ["달"], ["달은 돈다"]))
    assert len(elastic_stub.indices) == 6


@pytest.mark.usefixtures("blocks_of_five")
@pytest.mark.parametrize("how", ["our process is killed", "the server dies"])
def test_an_index_left_unfinished_is_never_searched_but_built_anew(
    how, elastic_stub, corpus, tmp_path, monkeypatch, waits, log_lines
):
    retriever = ElasticRetrieval(elastic_stub.url)
    with monkeypatch.context() as patch:
        if how == "our process is killed":
            patch.setattr("tqdm.std.tqdm.update", lambda *_: interrupt())
            with pytest.raises(KeyboardInterrupt):
                load_or_build(retriever, corpus, tmp_path)
        else:
            elastic_stub.upcoming = [None, *[Refusal(503, "unavailable", "shutting down")] * 6]
            with pytest.raises(UserError, match="answered 503: shutting down"):
                load_or_build(retriever, corpus, tmp_path)
    assert len(only_index(elastic_stub)["documents"]) == 5
    assert list(tmp_path.iterdir()) == []

    elastic_stub.requests.clear()
    log_lines.clear()
    load_or_build(retriever, corpus, tmp_path)
    assert log_lines[0] == f"WARNING index {retriever.index} on {elastic_stub.url} was left unfinished and is rebuilt"
    assert titles(elastic_stub)[:3] == [
        f"GET /{retriever.index}/_mapping",
        f"DELETE /{retriever.index}",
        f"PUT /{retriever.index}",
    ]
    assert retriever.search(corpus.titles[:11], 1).ids.ravel().tolist() == list(range(11))


def interrupt():
    raise KeyboardInterrupt


def test_passages_lost_on_the_way_are_noticed(elastic_stub, corpus):
    elastic_stub.lost = {"7", "8"}
    retriever = ElasticRetrieval(elastic_stub.url, index="lossy")
    with pytest.raises(UserError) as caught:
        retriever.build(corpus)
    assert str(caught.value) == (
        f"the index lossy on {elastic_stub.url} holds 10 passages of 12: delete it there, "
        "or choose another --elastic_index"
    )
    assert only_index(elastic_stub)["mappings"]["_meta"]["odqa"]["complete"] is False


def test_passages_deleted_later_are_noticed(elastic_stub, corpus, tmp_path):
    retriever = ElasticRetrieval(elastic_stub.url)
    retriever.build(corpus)
    retriever.save(tmp_path / "index")
    del only_index(elastic_stub)["seen"]["3"]
    with pytest.raises(UserError, match="holds 11 passages of 12"):
        ElasticRetrieval(elastic_stub.url).load(tmp_path / "index", corpus)
    with pytest.raises(UserError, match="holds 11 passages of 12"):
        ElasticRetrieval(elastic_stub.url).build(corpus)


@pytest.mark.parametrize(
    "meta", [{}, {"_meta": {"app": "shop"}}, {"_meta": {"odqa": {"identity": {}, "complete": True}}}]
)
def test_somebody_elses_index_is_not_touched(meta, elastic_stub, corpus):
    elastic_stub.indices["shop"] = {"mappings": meta, "documents": {"1": {}}, "seen": {"1": {}}}
    with pytest.raises(UserError) as caught:
        ElasticRetrieval(elastic_stub.url, index="shop").build(corpus)
    assert str(caught.value) == (
        f"the index shop on {elastic_stub.url} holds something else (another corpus, other flags, or not made here): "
        "choose another --elastic_index"
    )
    assert titles(elastic_stub) == ["GET /shop/_mapping"]


def test_an_index_that_somebody_made_anew_meanwhile_is_not_marked_complete(elastic_stub, corpus, monkeypatch):
    retriever = ElasticRetrieval(elastic_stub.url)

    def replaced():
        only_index(elastic_stub)["mappings"] = {}  # as a bulk request to a deleted index would have made it

    monkeypatch.setattr(retriever, "_check_count", replaced)
    with pytest.raises(UserError, match=r"somebody else changed the index .* meanwhile: run this again"):
        retriever.build(corpus)
    assert only_index(elastic_stub)["mappings"] == {}


def test_a_folder_whose_index_is_gone_is_refused_and_built_anew(elastic_stub, corpus, tmp_path):
    load_or_build(ElasticRetrieval(elastic_stub.url), corpus, tmp_path)
    (folder,) = tmp_path.iterdir()
    elastic_stub.indices.clear()
    retriever = ElasticRetrieval(elastic_stub.url)
    with pytest.raises(UserError, match="has no complete index odqa-"):
        retriever.load(folder, corpus)
    load_or_build(retriever, corpus, tmp_path)
    assert len(only_index(elastic_stub)["seen"]) == 12


def test_a_folder_stands_for_one_index(elastic_stub, corpus, tmp_path):
    load_or_build(ElasticRetrieval(elastic_stub.url, index="first"), corpus, tmp_path)
    (folder,) = tmp_path.iterdir()
    with pytest.raises(UserError, match="stands for the index first, and second is asked for"):
        ElasticRetrieval(elastic_stub.url, index="second").load(folder, corpus)
    load_or_build(ElasticRetrieval(elastic_stub.url, index="second"), corpus, tmp_path)
    assert list(elastic_stub.indices) == ["first", "second"]


# ------------------------------------------------------------------------------------------------- servers that refuse


def test_a_busy_server_is_asked_again_later_each_time(elastic_stub, corpus, waits, log_lines):
    busy = Refusal(429, "es_rejected_execution_exception", "queue is full")
    elastic_stub.upcoming = [busy, busy]
    retriever = ElasticRetrieval(elastic_stub.url)
    retriever.build(corpus)
    assert waits == [0.5, 1.0]
    assert log_lines[:2] == [
        f"WARNING {elastic_stub.url} answered 429: queue is full; trying again in {wait} seconds"
        for wait in ("0.5", "1")
    ]
    assert titles(elastic_stub).count(f"PUT /{retriever.index}/_bulk") == 3
    elastic_stub.upcoming = [429]  # of one question
    assert retriever.search(corpus.titles[:11], 1).ids.ravel().tolist() == list(range(11))
    assert waits == [0.5, 1.0, 0.5]


def test_a_part_of_a_bulk_request_that_is_refused_is_sent_again_or_told(elastic_stub, corpus, waits):
    elastic_stub.upcoming = [429]
    ElasticRetrieval(elastic_stub.url, index="one").build(corpus)
    assert (waits, len(only_index(elastic_stub)["seen"])) == ([0.5], 12)
    elastic_stub.upcoming = [400]
    with pytest.raises(UserError, match=r"answered 400: not this one$"):
        ElasticRetrieval(elastic_stub.url, index="two").build(corpus)


def test_a_server_that_goes_away_while_passages_are_sent(elastic_stub, corpus, waits, monkeypatch):
    retriever = ElasticRetrieval(elastic_stub.url)

    def documents(corpus):
        elastic_stub.server.shutdown()
        elastic_stub.server.server_close()
        yield {"row": 0}

    monkeypatch.setattr("retrieval.elastic._documents", documents)
    with pytest.raises(UserError, match=f"no Elasticsearch answers at {elastic_stub.url} .*start it, or name another"):
        retriever.build(corpus)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_server_that_stays_busy_is_given_up(elastic_stub, corpus, waits):
    elastic_stub.refusal = Refusal(502, "bad_gateway", "proxy")
    with pytest.raises(UserError, match=r"answered 502: proxy$"):
        ElasticRetrieval(elastic_stub.url).build(corpus)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert len(elastic_stub.requests) == 6


def test_a_server_that_is_away(elastic_stub, corpus, waits):
    retriever = ElasticRetrieval(elastic_stub.url)
    elastic_stub.server.shutdown()
    elastic_stub.server.server_close()
    with pytest.raises(UserError) as caught:
        retriever.build(corpus)
    assert str(caught.value) == (
        f"no Elasticsearch answers at {elastic_stub.url} (Failed to establish a new connection: [Errno 111] Connection "
        "refused): start it, or name another --elastic_url"
    )
    assert sum(waits) == 15.5


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            Refusal(401, "security_exception", "unable to authenticate user [kim]"),
            "{url} refuses access (401, unable to authenticate user [kim]): "
            "set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, of somebody who may use it",
        ),
        (
            Refusal(403, "security_exception", "action [indices:admin/mappings/get] is unauthorized"),
            "{url} refuses access (403, action [indices:admin/mappings/get] is unauthorized): "
            "set ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, of somebody who may use it",
        ),
        (
            Refusal(
                400,
                "media_type_header_exception",
                "Invalid media-type value on headers [Accept]",
                caused_by={"type": "status_exception", "reason": "but found 9. Accept=...; compatible-with=9"},
            ),
            "{url} is of another version than client {client} (Invalid media-type value on headers [Accept]: "
            "but found 9. Accept=...; compatible-with=9): install the client of its version",
        ),
    ],
)
def test_a_server_that_refuses(refusal, message, elastic_stub, corpus, waits):
    import elasticsearch

    elastic_stub.refusal = refusal
    with pytest.raises(UserError) as caught:
        ElasticRetrieval(elastic_stub.url).build(corpus)
    assert str(caught.value) == message.format(url=elastic_stub.url, client=elasticsearch.__versionstr__)
    assert waits == []


def test_a_server_without_nori(elastic_stub, corpus, waits):
    elastic_stub.has_nori = False
    with pytest.raises(UserError) as caught:
        ElasticRetrieval(elastic_stub.url).build(corpus)
    assert str(caught.value) == (
        f"{elastic_stub.url} lacks nori (Unknown tokenizer type [nori_tokenizer] for [ko]): "
        "run bin/elasticsearch-plugin install analysis-nori on every node"
    )
    assert waits == []


@pytest.mark.parametrize("there", [False, True], ids=["no index there", "an index there"])
def test_another_product_is_refused_before_anything_is_written(there, elastic_stub, corpus):
    if there:
        ElasticRetrieval(elastic_stub.url).build(corpus)
        elastic_stub.requests.clear()
    elastic_stub.headers = {}
    with pytest.raises(UserError) as caught:
        ElasticRetrieval(elastic_stub.url).build(corpus)
    assert str(caught.value) == f"{elastic_stub.url} is not Elasticsearch 8 or later: name another --elastic_url"
    assert [request.method for request in elastic_stub.requests] == ["GET"]


def test_a_missing_or_unsupported_client_names_the_pip_command(corpus, monkeypatch):
    retriever = ElasticRetrieval("http://127.0.0.1:9")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "elasticsearch", None)
        with pytest.raises(UserError, match=r"pip install 'elasticsearch>=8\.19,<10'"):
            retriever.build(corpus)
    import elasticsearch

    monkeypatch.setattr(elasticsearch, "__version__", (7, 17, 9))
    monkeypatch.setattr(elasticsearch, "__versionstr__", "7.17.9")
    with pytest.raises(UserError, match=r"elasticsearch 7\.17\.9 is installed and not supported: pip install '"):
        retriever.build(corpus)


# ------------------------------------------------------------------------------------------------------ forms of text


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_passages_questions_and_dictionary_are_sent_folded(form, elastic_stub, tmp_path):
    rules = tmp_path / "rules.txt"
    rules.write_text(unicodedata.normalize(form, "\ufeff세종시 세종 시\n\u200b\n# 말\n"), encoding="utf-8")
    arguments = RetrieverArguments(
        retriever_type="ElasticRetrieval", elastic_url=elastic_stub.url, elastic_user_dictionary=str(rules)
    )
    retriever = create_retriever(arguments)
    texts = [
        unicodedata.normalize(form, text) for text in ("부산은 항구이다", "서울은\u200b 수도이다", "ＫＢＳ 방송ㆍ신문")
    ]
    retriever.build(Corpus(["0", "1", "2"], ["", unicodedata.normalize(form, "서울"), ""], texts))
    assert retriever.search([unicodedata.normalize(form, "서울은")], 3).ids[0, 0] == 1

    (created,) = [request.body for request in elastic_stub.requests if request.body and "settings" in request.body]
    assert created["settings"]["analysis"]["tokenizer"]["ko"]["user_dictionary_rules"] == ["세종시 세종 시"]
    sent = [line for request in elastic_stub.requests if isinstance(request.body, list) for line in request.body]
    assert [line["text"] for line in sent if "text" in line] == ["부산은 항구이다", "서울은 수도이다", "KBS 방송·신문"]
    assert [line["title"] for line in sent if "title" in line] == ["", "서울", ""]
    assert sent[-1]["query"]["multi_match"]["query"] == "서울은"

"""Retrievers in one word: read as the command line reads flags, and refused by name."""

from __future__ import annotations

import dataclasses

import pytest

from arguments import RetrieveArguments, RetrieverArguments
from retrieval import create_retriever
from retrieval.spec import arguments_of
from runtime.errors import UserError

BM25, HYBRID = "SparseRetrieval_BM25P", "HybridRetrieval"


def changes(spec, arguments):
    """What ``spec`` makes other than ``arguments``."""
    after, before = dataclasses.asdict(arguments_of(spec, arguments, RetrieverArguments)), dataclasses.asdict(arguments)
    return {name: value for name, value in after.items() if value != before[name]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (BM25, {}),
        (f"{BM25},analyzer=bigram,bm25_b=0.4", {"analyzer": "bigram", "bm25_b": 0.4}),
        (f"{BM25},analyzer=wordpiece,analyzer_model=a=b", {"analyzer": "wordpiece", "analyzer_model": "a=b"}),
        (
            "DenseRetrieval,normalize=true,question_prefix=query: ,question_max_len=32",
            {
                "retriever_type": "DenseRetrieval",
                "normalize": True,
                "question_prefix": "query: ",
                "question_max_len": 32,
            },
        ),
        (
            f"{BM25},analyzer=wordpiece,analyzer_model='a,b+c'",
            {"analyzer": "wordpiece", "analyzer_model": "a,b+c"},
        ),
        (
            'DenseRetrieval,question_prefix="query, \\"Korean\\": ",retriever_dir=a+b',
            {"retriever_type": "DenseRetrieval", "question_prefix": 'query, "Korean": ', "retriever_dir": "a+b"},
        ),
        (
            f'{HYBRID},hybrid_retrievers="{BM25},analyzer=mecab"+DenseRetrieval',
            {"retriever_type": HYBRID, "hybrid_retrievers": [f"{BM25},analyzer=mecab", "DenseRetrieval"]},
        ),
        (
            f"{HYBRID},hybrid_retrievers={BM25}+DenseRetrieval+{BM25},fusion_weights=0.5+0+1,fusion=rrf",
            {
                "retriever_type": HYBRID,
                "hybrid_retrievers": [BM25, "DenseRetrieval", BM25],
                "fusion_weights": [0.5, 0.0, 1.0],
                "fusion": "rrf",
            },
        ),
        (f"{BM25},reranker=M,backend=openvino", {"reranker": "M", "backend": "openvino"}),
    ],
)
def test_flags_are_read_as_on_the_command_line(spec, expected):
    assert changes(spec, RetrieverArguments()) == expected


def test_flags_given_outside_hold_unless_the_spec_says_otherwise():
    shared = RetrieverArguments(retriever_type="whatever", bm25_k1=0.9, bm25_b=0.5, index_dir="there")
    assert changes(f"{BM25},bm25_b=0.4", shared) == {"retriever_type": BM25, "bm25_b": 0.4}
    several = arguments_of(
        f"{BM25},bm25_b=0.4", RetrieveArguments(retriever_type=[BM25, "B"], index_dir="there"), RetrieverArguments
    )
    assert type(several) is RetrieverArguments
    assert (several.retriever_type, several.index_dir, several.top_k_retrieval) == (BM25, "there", 100)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (f"{BM25},analyser=kiwi", f"--analyser is not a flag of {BM25}; did you mean --analyzer?"),
        (f"{BM25},bm25_b=2,bm25_k1=0", "--bm25_k1 0 must be above 0; --bm25_b 2 must be at least 0 and at most 1"),
        (f"{BM25},bm25_b=much", "argument --bm25_b: invalid float value: 'much'"),
        (
            f"{BM25},fusion=rrf,retriever_dir=a",
            "--retriever_dir would be ignored: only --retriever_type DenseRetrieval, MultiVectorRetrieval, "
            "MilvusRetrieval read it; "
            "--fusion would be ignored: only --retriever_type HybridRetrieval reads it",
        ),
        (
            f"{BM25},backend=openvino",
            "--backend would be ignored: nothing is encoded: name a retriever with encoders, or add --reranker",
        ),
        (f"{BM25},analyzer", "'analyzer' is not flag=value; a retriever is NAME,flag=value,flag=value"),
        (f"{BM25},", "'' is not flag=value; a retriever is NAME,flag=value,flag=value"),
        (f"{BM25},retriever_type=A", "the name at its beginning is the retriever's type"),
        (
            f"{BM25},learning_rate=1",
            f"--learning_rate has no effect in {BM25}; it is a flag of train_mrc.py, train_mrc_v2.py and "
            "train_reranker.py",
        ),
    ],
)
def test_what_is_wrong_is_named(spec, complaint):
    with pytest.raises(UserError) as caught:
        arguments_of(spec, RetrieverArguments(), RetrieverArguments)
    assert str(caught.value) == f"{spec}: {complaint}"


@pytest.mark.parametrize(
    "parts", [[HYBRID, BM25], [BM25, f"{HYBRID},fusion=rrf"], [f"{HYBRID},hybrid_retrievers={HYBRID}+{BM25}", BM25]]
)
def test_a_hybrid_that_would_fuse_itself_without_end_is_refused(parts):
    with pytest.raises(UserError, match="a hybrid cannot fuse itself"):
        create_retriever(RetrieverArguments(retriever_type=HYBRID, hybrid_retrievers=parts, analyzer="bigram"))


def test_a_hybrid_may_fuse_another_hybrid():
    spec = f"{HYBRID},hybrid_retrievers={BM25}+SparseRetrieval_TFIDF"
    parts = [f"{BM25},analyzer=whitespace", spec]
    hybrid = create_retriever(RetrieverArguments(retriever_type=HYBRID, hybrid_retrievers=parts, analyzer="bigram"))
    assert [part.name for part in hybrid.parts] == [BM25, HYBRID]
    assert [part.name for part in hybrid.parts[1].parts] == [BM25, "SparseRetrieval_TFIDF"]


def test_every_retriever_can_be_created_by_its_spec():
    retriever = create_retriever(RetrieverArguments(retriever_type=f"{BM25},analyzer=bigram,bm25_k1=0.9"))
    assert (retriever.name, retriever.k1, retriever.analyzer.description) == (BM25, 0.9, {"name": "bigram"})
    with pytest.raises(UserError, match=r"^no retriever is named BM26; "):
        create_retriever(RetrieverArguments(retriever_type="BM26,analyzer_model=a,analyzer=wordpiece"))

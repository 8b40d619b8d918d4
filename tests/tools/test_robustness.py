"""tools.robustness: what a change costs, against questions that are asked one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arguments import RetrieverArguments
from loading.corpus import load_corpus
from loading.examples import load_examples
from loading.perturbations import perturbed
from pipeline import Reader
from retrieval import create_retriever
from runtime.errors import UserError
from tools import robustness

BM25, TFIDF = "SparseRetrieval_BM25P,analyzer=whitespace", "SparseRetrieval_TFIDF,tfidf_features=char"


@pytest.fixture
def run(dataset_path: str, tmp_path: Path) -> Any:
    """Run the command; return the report."""

    def command(*words: str) -> dict[str, Any]:
        given = {"dataset_path": dataset_path, "output_dir": tmp_path / "out", "index_dir": tmp_path / "index"}
        argv = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return robustness.main([*argv, *words])

    return command


def found(spec: str, questions: list[str], titles: list[str], corpus: Any, k: int) -> np.ndarray:
    retriever = create_retriever(RetrieverArguments(retriever_type=spec))
    retriever.build(corpus)
    rows = [retriever.search([question], k).ids[0] for question in questions]
    return np.array(
        [title in [corpus.titles[row] for row in of_one] for of_one, title in zip(rows, titles, strict=True)]
    )


def test_changed_questions_are_compared_with_themselves(
    run: Any, dataset_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = ["spacing", "nfd", "numbers", "typo"]
    report = run("--retriever_type", BM25, TFIDF, "--perturbations", *ways, "--top_k", "2", "--seed", "3")
    examples = load_examples(dataset_path, ["validation"])["validation"]
    corpus, plain = load_corpus(Path(dataset_path) / "wikipedia_documents.json"), list(examples["question"])
    assert [row["retriever"] for row in report["retrievers"]] == [BM25, TFIDF]
    costs = []
    for row in report["retrievers"]:
        before = found(row["retriever"], plain, examples["title"], corpus, 1)
        assert row["as_asked"]["recall@1"]["mean"] == pytest.approx(100 * before.mean())
        assert list(row["changed"]) == ways
        for name, figures in row["changed"].items():
            texts = perturbed(name, plain, 3)
            changed = np.array([text != asked for text, asked in zip(texts, plain, strict=True)])
            assert figures["questions"] == changed.sum()
            if not changed.any():
                assert list(figures) == ["questions"]
                continue
            after = found(row["retriever"], texts, examples["title"], corpus, 1)
            cost = 100 * (after[changed].mean() - before[changed].mean())
            assert figures["recall@1"]["mean"] == pytest.approx(cost)
            assert figures["recall@1"]["low"] <= cost + 1e-9 and cost - 1e-9 <= figures["recall@1"]["high"]
            costs.append(cost)
        assert figures["questions"] and row["changed"]["nfd"]["recall@1"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert min(costs) < 0  # something was lost
    written = (tmp_path / "out" / "robustness.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "robustness.json").read_text(encoding="utf-8")) == report
    shown = capsys.readouterr().out
    assert all(block in shown for block in written.split("\n\n")) and "| spacing " in written


def test_answers_of_a_reader_are_compared_too(run: Any, trained_reader: str) -> None:
    (row,) = run(
        "--retriever_type", BM25, "--perturbations", "spacing", "nfd", "--top_k", "2", "--model", trained_reader
    )["retrievers"]  # fmt: skip
    assert row["as_asked"]["exact_match"]["mean"] > 0
    assert set(row["changed"]["spacing"]) == {"questions", "recall@1", "mrr@10", "exact_match", "f1"}
    assert row["changed"]["nfd"]["exact_match"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_questions_without_passages_are_refused(run: Any) -> None:
    with pytest.raises(UserError, match="nothing can be measured on these questions: they name no passages"):
        run("--split", "test")


def test_a_reader_is_computed_as_the_flags_say(run: Any, trained_reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(Reader, "load", lambda *names, **flags: loaded.append((names, flags)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("--retriever_type", BM25, "--model", trained_reader, "--backend", "openvino")
    assert loaded == [((trained_reader,), {"backend": "openvino"})]
    with pytest.raises(SystemExit):  # neither a reader, a reranker nor an encoder
        run("--retriever_type", BM25, "--backend", "openvino")

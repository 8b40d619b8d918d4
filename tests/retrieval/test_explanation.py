"""What is shown of why passages were found."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from arguments import AskArguments, RetrieveArguments, parse_arguments
from loading.corpus import Corpus
from retrieval.base import Explanation, Part, SearchResults
from retrieval.explanation import as_json, as_text, explain_found, rows_of
from runtime.errors import UserError
from runtime.terminal import columns_of

CORPUS = Corpus(["가", "나", "다"], ["왕", "강\x1b[31m", ""], ["글", "글", "글"])
FOUND = SearchResults(np.array([[1, 0]]), np.array([[3.5, 1.0]], np.float32))


class Scripted:
    """Says of row n that its score is n + 0.5 by one retriever, which counts ten terms."""

    def explain(self, question, rows, k):
        assert (question, k) == ("왕은?", 2)
        terms = [Part(f"말{number}", 10.0 - number) for number in range(10)]
        return Explanation(
            {"kiwi": ["왕", "은", "왕"]},
            [[Part("BM25", row + 0.5, "rank\x9b 1", terms), Part("끝", 2.0)] for row in rows],
        )


def test_the_best_passages_and_the_right_ones_are_explained() -> None:
    explained = explain_found(Scripted(), CORPUS, "왕은?", FOUND, 1, also=[1, 2])
    assert [one[:4] for one in explained.passages] == [(1, "나", "강\x1b[31m", 3.5), (None, "다", "", 4.5)]
    content = as_json(explained)
    assert (content["question"], content["cuts"]) == ("왕은?", {"kiwi": ["왕", "은", "왕"]})
    assert content["passages"][1]["parts"][0]["parts"][9] == {"name": "말9", "score": 1.0, "detail": "", "parts": []}


def test_what_is_shown_fits_the_terminal_and_does_not_command_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = as_text(explain_found(Scripted(), CORPUS, "왕은?", FOUND, 2, also=[2]))
    assert max(map(columns_of, shown.splitlines())) <= 40
    assert [character for character in shown if not character.isprintable() and character != "\n"] == []
    head, first, second, third = shown.split("\n\n")
    assert head == "kiwi: 왕 2× · 은"
    assert first.startswith("강 [31m (passage 1, score 3.5)\n     1.5000  BM25 (rank 1)\n        10.0000  말0\n")
    assert "         3.0000  in 2 smaller parts\n     2.0000  끝" in first
    assert second.startswith("왕 (passage 2, score 1)\n") and third.startswith("(no title) (not found, score 4.5)\n")


def test_an_unknown_id_is_named() -> None:
    examples = Dataset.from_dict({"id": ["ㄱ-1", "ㄱ-2"]})
    assert rows_of(["ㄱ-2", "ㄱ-1"], examples) == [1, 0]
    with pytest.raises(UserError, match=r"^--explain ㄱ-3 x: no question has this id; the first one here is ㄱ-1$"):
        rows_of(["ㄱ-3", "ㄱ-1", "x"], examples)


@pytest.mark.parametrize("name", ["ElasticRetrieval", "MilvusRetrieval"])
def test_a_retriever_that_cannot_say_why_is_refused_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    def parse(arguments, *words):
        return parse_arguments(arguments, ["--explain", *words, "--dataset_path", "d", "--retriever_type", name])

    for arguments, words in ((RetrieveArguments, ["1"]), (AskArguments, ["--model", "m"])):
        with pytest.raises(SystemExit):
            parse(arguments, *words)
        refusal = (
            f"--explain: {name} does not say why it finds a passage; SparseRetrieval_BM25P, SparseRetrieval_TFIDF, "
        )
        assert refusal in capsys.readouterr().err

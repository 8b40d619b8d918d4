"""Hard negatives, training questions and DPR JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arguments import DatasetArguments
from loading.corpus import Corpus
from loading.dpr_json import find_dpr_json, read_dpr_json, write_dpr_json
from loading.questions import load_questions
from loading.retrieval_examples import Passage, RetrievalExample, wrong_rows
from retrieval.base import SearchResults
from retrieval.joint_batch import JointBatch
from retrieval.mining import find_hard_negatives, mine_hard_negatives, with_hard_negatives
from retrieval.training import (
    TrainingQuestions,
    corpus_passages,
    with_gold_passages,
)
from runtime.errors import DataError, UserError
from runtime.text import answer_in_passage

DECOMPOSED = "\u1112\u1161\u11ab\u1100\u1161\u11bc"  # 한강, as some files have it


class Ranked:
    """A retriever that ranks rows by (row * 7 + length of the question) modulo the size of the corpus."""

    name, libraries = "Ranked", ()
    asked = 0

    def __init__(self, version: int = 1) -> None:
        self.version = version

    def parameters(self):
        return {"version": self.version}

    def load(self, folder, corpus):
        raise AssertionError("nothing is saved")

    def build(self, corpus):
        self.size = len(corpus)

    def save(self, folder):
        pass

    def search(self, questions, k):
        self.asked += len(questions)
        scores = np.array([[(row * 7 + len(q)) % self.size for row in range(self.size)] for q in questions], np.float32)
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return SearchResults(ids, np.take_along_axis(scores, ids, axis=1))


@pytest.fixture
def examples(corpus: Corpus) -> list[RetrievalExample]:
    golds = [(2, DECOMPOSED), (5, "이순신"), (1, "훈민정음"), (3, "2744미터"), (2, "강")]
    return [
        RetrievalExample(f"q{n}", "?" * (n + 1), [answer], Passage("", f" {corpus.texts[row]} "), [])
        for n, (row, answer) in enumerate(golds)
    ]


def test_mined_are_the_best_ranked_that_are_wrong(
    corpus: Corpus, examples: list[RetrievalExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.mining._BLOCK", 2)
    retriever = Ranked()
    retriever.build(corpus)
    mined = mine_hard_negatives(examples, corpus, retriever, 8)
    assert len(mined) == 5 and all(mined)
    plain = ["한강", "이순신", "훈민정음", "2744미터", "강"]
    for example, answer, rows in zip(examples, plain, mined, strict=True):
        ranking = retriever.search([example.question], 8).ids[0].tolist()
        wrong = [r for r in ranking if answer not in f"{corpus.titles[r]} {corpus.texts[r]}"]
        assert rows == [row for row in wrong if corpus.texts[row] != example.positive.text.strip()]


def test_mined_negatives_are_kept_under_all_that_they_depend_on(
    corpus: Corpus, examples: list[RetrievalExample], tmp_path: Path
) -> None:
    def mine(examples=examples, corpus=corpus, version=1, depth=8):
        retriever = Ranked(version)
        return find_hard_negatives(examples, corpus, retriever, depth, tmp_path), retriever.asked

    first = mine()
    assert first[1] == 5
    assert mine() == (first[0], 0)
    other = Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "다른 글"])
    for change in (
        {"depth": 7}, {"version": 2}, {"corpus": other}, {"examples": examples[::-1]},
        {"examples": [examples[0]._replace(answers=["서울"]), *examples[1:]]},
        {"examples": [examples[0]._replace(positive=Passage("", "다른 글")), *examples[1:]]},
    ):  # fmt: skip
        assert mine(**change)[1] == 5
    assert len(list(tmp_path.glob("negatives-*.json"))) == 7


def test_each_epoch_draws_exactly_n_negatives_of_the_pool_topped_up_with_others(corpus: Corpus) -> None:
    passages = corpus_passages(corpus)
    example = RetrievalExample("a", "?", ["한강"], passages[0], [passages[3], passages[4], passages[5]])
    questions = TrainingQuestions([example], passages, 2, seed=3)
    drawn = [questions.draw(0, epoch) for epoch in range(40)]
    assert all(passage == passages[0] for passage, *_ in drawn)
    assert all(set(negatives) < set(example.negatives) and len(set(negatives)) == 2 for _, *negatives in drawn)
    assert min(Counter(passage for _, *rest in drawn for passage in rest).values()) > 15  # all alike
    assert drawn == [TrainingQuestions([example], passages, 2, seed=3).draw(0, epoch) for epoch in range(40)]

    topped_up = TrainingQuestions([example], passages, 6, seed=3)
    for epoch in range(40):
        positive, *negatives = topped_up.draw(0, epoch)
        assert len(set(negatives)) == 6 and set(example.negatives) < set(negatives) and positive not in negatives
        assert passages[2] not in negatives  # holds the answer
    everything = TrainingQuestions([example], passages, 50, seed=3).draw(0, 0)
    assert len(everything) == 11  # there are no more


def test_batches_are_every_row_once_and_a_function_of_the_epoch(examples: list[RetrievalExample]) -> None:
    questions = TrainingQuestions(examples, [], 0, seed=1)
    epochs = [questions.batches(epoch, 2) for epoch in range(6)]
    assert all([len(batch) for batch in batches] == [2, 2, 1] for batches in epochs)
    assert all(sorted(row for batch in batches for row in batch) == list(range(5)) for batches in epochs)
    assert len({str(batches) for batches in epochs}) > 3 and epochs[2] == questions.batches(2, 2)


def test_gold_passages_that_the_corpus_lacks_are_added_once(corpus: Corpus) -> None:
    wanted = [
        Passage("", f"{corpus.texts[4]}\n"),
        Passage("새", "새 글", "100"),
        Passage("새", "새  글"),
        Passage("", "또", "n"),
    ]
    whole, rows = with_gold_passages(corpus, wanted)
    assert rows == [4, 12, 12, 13]
    assert whole.texts == [*corpus.texts, "새 글", "또"]
    assert whole.document_ids[12:] == ["added-0", "n"]  # 100 stands for another text there


def test_an_answer_is_found_whatever_its_unicode_form_and_blanks() -> None:
    assert answer_in_passage([f"{DECOMPOSED}\n이야기"], "", "긴  한강 이야기")
    assert answer_in_passage(["한강"], "한강", "글")
    assert not answer_in_passage(["한강", "", " "], "한", "강")


POSITIVE, OTHER = Passage("세종", "세종은 조선의 4대 왕이다.", "1"), Passage("", "ＫＢＳ는 1927년에 문을 열었다.")
NONE_BUT_RIGHT = [
    Passage("다른 제목", "  세종은 조선의\n4대 왕이다.\u200b"),
    Passage("세종", "세종은조선의4대왕이다."),
    Passage("세종", unicodedata.normalize("NFD", "세종은 조선의 4대 왕이다.")),
    Passage("", "KBS는 １９２７년에 문을 열었다."),
    Passage("세종", "세종은 조선의 네 번째 임금이다.", "1"),  # by id
]
WRONG = [Passage("", "부산은 항구이다."), Passage("", "서울은 수도이다."), Passage("", "달은 위성이다.")]


@pytest.mark.parametrize("answers", [["4대"], []])
def test_what_says_the_same_as_a_positive_is_never_a_negative(answers: list[str]) -> None:
    example = RetrievalExample("q", "?", answers, POSITIVE, [], (OTHER,))
    everything = [*NONE_BUT_RIGHT, *WRONG]
    given = TrainingQuestions([example._replace(negatives=everything)], [], 8, seed=1)
    random_ones = TrainingQuestions([example], everything, 8, seed=1)
    few = TrainingQuestions([example._replace(negatives=everything[:6])], WRONG, 2, seed=1)
    for epoch in range(20):
        assert given.draw(0, epoch)[0] == random_ones.draw(0, epoch)[0] == POSITIVE
        assert set(given.draw(0, epoch)[1:]) == set(random_ones.draw(0, epoch)[1:]) == set(WRONG)
        _, own, topped_up = few.draw(0, epoch)
        assert own == WRONG[0] and topped_up in WRONG[1:]


def test_a_negative_is_drawn_once_however_often_it_is_there() -> None:
    twice = [WRONG[0], Passage("제목", "부산은  항구이다.\ufeff"), WRONG[1]]
    example = RetrievalExample("q", "?", [], POSITIVE, twice)
    for epoch in range(20):
        _, *drawn = TrainingQuestions([example], [], 2, seed=0).draw(0, epoch)
        assert len(drawn) == 2 and WRONG[1] in drawn
        _, *drawn = TrainingQuestions([example], [*twice, WRONG[2]], 3, seed=0).draw(0, epoch)
        assert {WRONG[1], WRONG[2]} < set(drawn) and len(drawn) == 3


def test_mined_are_never_a_positive_nor_hold_an_answer_in_any_form(tmp_path: Path) -> None:
    passages = [
        *NONE_BUT_RIGHT,
        Passage("훈민 정음", "글자이다.", "t"),
        Passage("", "훈민\u00ad정 음을 만들었다.", "u"),
        *WRONG,
    ]
    texts = [passage.text for passage in passages]
    ids = [passage.passage_id or f"p{row}" for row, passage in enumerate(passages)]
    corpus = Corpus(ids, [passage.title for passage in passages], texts, {"old": "1"})
    for identifier in ("1", "old"):  # another name of the same passage
        positive = POSITIVE._replace(passage_id=identifier)
        example = RetrievalExample("q", "?", ["훈민정음", " "], positive, [WRONG[0]], (OTHER,))
        assert wrong_rows(example, range(len(corpus)), corpus) == [7, 8, 9]
        (mined,) = with_hard_negatives([example], corpus, Ranked(), len(corpus), tmp_path)
        assert {passage.text for passage in mined.negatives} == {passage.text for passage in WRONG}


def test_another_positive_in_the_batch_counts_neither_for_nor_against_a_question() -> None:
    first = RetrievalExample("a", "?", [], POSITIVE, [], (OTHER,))
    second = RetrievalExample("b", "?", [], OTHER._replace(text=f"{OTHER.text} "), [WRONG[0]])
    third = RetrievalExample("c", "?", [], NONE_BUT_RIGHT[0], [])
    labels, same = JointBatch(TrainingQuestions([first, second, third], [], 1, 0), [0, 1, 2], 0, 1).targets()
    assert labels.tolist() == [0, 1, 3]
    assert same.tolist() == [[False, True, False, True], [False] * 4, [True, False, False, False]]


# ------------------------------------------------------------------------------------------------------------ DPR JSON


def test_questions_to_evaluate_on_may_be_in_or_beside_the_data_set(
    tmp_path: Path, examples: list[RetrievalExample]
) -> None:
    write_dpr_json(tmp_path / "data" / "train.json", examples)
    write_dpr_json(tmp_path / "mine.json", examples[:2])
    arguments = DatasetArguments(dataset_path=str(tmp_path / "data"), test_eval_dataset_path="mine.json")
    train, evaluation = load_questions(arguments, evaluate=True)
    assert (len(train), [example.question for example in evaluation]) == (5, ["?", "??"])
    with pytest.raises(UserError) as refusal:
        load_questions(replace(arguments, test_eval_dataset_path="none.json"), evaluate=True)
    inside, beside = tmp_path / "data" / "none.json", tmp_path / "none.json"
    assert str(refusal.value).startswith(f"none.json does not exist, nor {inside}, nor {beside}; ")


def test_dpr_json_comes_back_as_it_was_written(tmp_path: Path, examples: list[RetrievalExample]) -> None:
    written = [example._replace(negatives=[Passage("제목", "글", "7"), Passage("", "다른 글")]) for example in examples]
    write_dpr_json(tmp_path / "train.json", written)
    assert read_dpr_json(tmp_path / "train.json") == written
    assert find_dpr_json(tmp_path, "train") == find_dpr_json(tmp_path / "train.json", "validation")
    assert find_dpr_json(tmp_path, "validation") is None


def test_the_format_of_others_is_read(tmp_path: Path, dataset_path: str) -> None:
    row = {
        "dataset": "nq_train",
        "question": "누구?",
        "answers": ["세종"],
        "positive_ctxs": [{"title": "왕", "text": "세종", "score": 1000, "title_score": 1, "passage_id": 12}],
        "negative_ctxs": [{"title": "", "text": "아무 글", "psg_id": "3"}],
        "hard_negative_ctxs": [],
    }
    path = tmp_path / "dev.json"
    path.write_text("\ufeff " + json.dumps([row]), encoding="utf-8")
    assert read_dpr_json(path) == [
        RetrievalExample("0", "누구?", ["세종"], Passage("왕", "세종", "12"), [Passage("", "아무 글", "3")])
    ]
    assert find_dpr_json(tmp_path, "validation") == path
    assert find_dpr_json(dataset_path, "train") is None  # SQuAD format


def _written(path: Path, *rows: dict) -> Path:
    good = {"question": "?", "answers": []}
    path.write_text(json.dumps([good | row for row in rows]), encoding="utf-8")
    return path


def test_all_positives_are_read_and_none_of_them_is_a_negative(tmp_path: Path) -> None:
    positives = [POSITIVE._asdict(), OTHER._asdict()]
    hard = [passage._asdict() for passage in (*NONE_BUT_RIGHT, WRONG[0])]
    rows = [
        {"positive_ctxs": positives, "hard_negative_ctxs": hard},
        {"positive_ctxs": positives, "hard_negative_ctxs": hard[:5], "negative_ctxs": [hard[0], WRONG[1]._asdict()]},
        {"positive_ctxs": positives, "hard_negative_ctxs": hard[:5]},
    ]
    examples = read_dpr_json(_written(tmp_path / "train.json", *rows))
    assert {example.positives for example in examples} == {(POSITIVE, OTHER)}
    assert [example.negatives for example in examples] == [[WRONG[0]], [WRONG[1]], []]
    write_dpr_json(tmp_path / "again.json", examples)
    assert read_dpr_json(tmp_path / "again.json") == examples


def test_ids_in_dpr_json(tmp_path: Path) -> None:
    def row(identifier: object, **names: object) -> dict:
        return {"id": identifier, "positive_ctxs": [{"title": "\u200b", "text": "글", **names}]}

    rows = [row(3.0, passage_id=7.0), row(None, passage_id=None, psg_id=8), row("x", passage_id="9.0"), row(4)]
    examples = read_dpr_json(_written(tmp_path / "a.json", *rows))
    assert [example.id for example in examples] == ["3", "1", "x", "4"]
    assert [example.positive for example in examples] == [Passage("", "글", name) for name in ("7", "8", "9.0", "")]
    bad = [row([1]), row(1, passage_id={}), row("y") | {"question": "\ufeff"}]
    with pytest.raises(DataError) as caught:
        read_dpr_json(_written(tmp_path / "b.json", *bad))
    assert [problem.reason for problem in caught.value.problems] == [
        "id is neither text nor a whole number",
        "positive_ctxs[0] has a passage_id that is neither text nor a whole number",
        "question is not a text, or is empty",
    ]


def test_every_bad_row_is_told_at_once(tmp_path: Path) -> None:
    good = {"question": "?", "answers": [], "positive_ctxs": [{"text": "글"}]}
    rows = [
        good, "?", {"question": " ", "answers": "a"}, {**good, "positive_ctxs": []},
        {**good, "hard_negative_ctxs": [{"text": "글"}, {"title": 3, "text": "글"}]},
    ]  # fmt: skip
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_dpr_json(path)
    assert str(error.value).splitlines() == [
        "4 problems in the data:",
        f"  {path}, [1]: is not an object",
        f"  {path}, [2]: question is not a text, or is empty; answers is not a list of texts; "
        "positive_ctxs is not a list",
        f"  {path}, [3]: positive_ctxs holds no passage",
        f"  {path}, [4]: hard_negative_ctxs[1] has no text, or a title that is no text",
        "Mend these rows, or leave them out with --skip_bad_rows.",
    ]
    assert len(read_dpr_json(path, skip_bad_rows=True)) == 1
    for content, reason in (("{}", "expected a list, not a dict"), ("[", "not valid JSON"), ("[]", "no question")):
        path.write_text(content)
        with pytest.raises(DataError, match=re.escape(reason)):
            read_dpr_json(path)

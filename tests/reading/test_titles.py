"""The title prefix: what is read, and that offsets, labels and answers stay those of the text."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from loading.examples import example_features
from reading.answers import find_answers
from reading.arguments import AnswerArguments
from reading.features import build_features
from reading.passages import joined_passages, separate_passages
from reading.titles import TitleAt, with_titles


def test_characters_of_titles_stand_for_none_of_the_text() -> None:
    text = with_titles("한강이 흐른다.\n\n바다", [TitleAt(0, "서울"), TitleAt(10, "부산")])
    assert text.text == "서울: 한강이 흐른다.\n\n부산: 바다"
    assert text.original_span(0, 4) == (0, 0)
    assert text.original_span(4, 7) == (0, 3)
    assert text.original_span(3, 6) == (0, 2)  # a token with the blank before it
    assert text.original_span(14, 18) == (10, 10)
    assert text.original_span(18, 20) == (10, 12)


def test_decomposed_text_and_empty_titles() -> None:
    decomposed = unicodedata.normalize("NFD", "한강")
    text = with_titles(decomposed, [TitleAt(0, unicodedata.normalize("NFD", "서울"))])
    assert text.text == "서울: 한강"
    assert text.original_span(5, 6) == (3, 6)
    assert with_titles("한강", [TitleAt(0, "")]).text == "한강"


def examples(context: str, answer: str) -> Dataset:
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    row = {"id": "1", "title": "서울", "question": "서울의 강은?", "context": context, "answers": answers}
    return Dataset.from_list([row | {"document_id": "7"}], features=example_features())


@pytest.mark.parametrize("name", ["bert_tokenizer", "roberta_tokenizer"])
def test_features_read_the_title_and_label_the_text(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(name)
    context = "서울의 가운데를 한강이 흐른다."
    plain, titled = (
        build_features(examples(context, "한강"), tokenizer, 64, 8, title_prefix=prefix) for prefix in (False, True)
    )
    (plain,), (titled,) = plain, titled
    read = tokenizer.decode(titled["input_ids"]).replace(tokenizer.unk_token, ":").replace(" ", "")
    assert "서울:서울의가운데를" in read
    assert titled["length"] > plain["length"]
    read = [span for span in titled["offset_mapping"] if span is not None]
    assert read == [span for span in plain["offset_mapping"] if span is not None]
    assert sum(titled["answer_mask"]) == sum(plain["answer_mask"]) == len(read) + 1
    start, end = titled["start_positions"], titled["end_positions"]
    first, last = titled["offset_mapping"][start][0], titled["offset_mapping"][end][1]
    assert "한강" in context[first:last] and len(context[first:last].strip()) <= 3


def test_the_cache_tells_titles_from_none(bert_tokenizer: PreTrainedTokenizerFast, tmp_path) -> None:
    data = examples("한강이 흐른다.", "한강")
    lengths = {
        build_features(data, bert_tokenizer, 64, 8, cache_dir=tmp_path, title_prefix=prefix)[0]["length"]
        for prefix in (False, True, False, True)
    }
    assert len(lengths) == 2


@pytest.mark.parametrize("make", [separate_passages, joined_passages])
def test_answers_are_found_in_the_text_of_their_passage(make, bert_tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [("7", "서울", "한강이 흐른다."), ("8", "부산", "부산에 해운대가 있다.")]
    retrieved = pd.DataFrame(
        [
            {"id": "1", "question": "어디?", "rank": rank, "document_id": document_id, "title": title, "context": text}
            for rank, (document_id, title, text) in enumerate(rows, start=1)
        ]
    ).assign(score=1.0)
    reading = make(retrieved)
    features = build_features(reading, bert_tokenizer, 128, 8, title_prefix=True)
    # a reader that wants the title of the second passage most, and the place next
    start_logits = np.zeros((len(features), max(features["length"])), dtype=np.float32)
    for row, feature in enumerate(features):
        tokens = bert_tokenizer.convert_ids_to_tokens(feature["input_ids"])
        for position, token in enumerate(tokens):
            if token == "부":
                start_logits[row, position] = 9  # in the title, then in the text
            elif token == "해":
                start_logits[row, position] = 5
    settings = AnswerArguments(max_ans_len=3, n_best_size=200)
    answers = find_answers(reading, features, (start_logits, start_logits), settings)["1"]
    text_of = {document_id: text for document_id, _, text in rows}
    assert all(text_of[answer.document_id][answer.start : answer.end] == answer.text for answer in answers)
    best = max(answers, key=lambda answer: answer.span_score)
    assert (best.document_id, best.start) == ("8", 0)  # 부산 of the text: the title cannot be an answer


@pytest.mark.parametrize("blank", ["\u200b", " \ufeff", "\x00"])
def test_a_title_that_cannot_be_seen_is_none(blank: str) -> None:
    assert with_titles("한강", [TitleAt(0, blank)]) == with_titles("한강", [TitleAt(0, "")])

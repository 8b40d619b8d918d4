"""Several gold answers: which spans a feature holds, and how a batch pads them."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_bert
from transformers import PreTrainedTokenizerFast

from reading.batching import FeatureCollator
from reading.features import make_features

CONTEXT = (
    "세종은 조선의 왕이다. 그는 1443년에 훈민정음을 만들었다. 장영실은 그의 명으로 자격루를 만들었다. "
    "거북선은 이순신이 만든 배이다. 1443년은 조선 초기이다."
)


def features_of(
    tokenizer: PreTrainedTokenizerFast, answers: list[str | tuple[str, int]], max_seq_len: int = 128
) -> dict:
    found = [(answer, CONTEXT.index(answer)) if isinstance(answer, str) else answer for answer in answers]
    examples = {
        "question": ["언제인가?"],
        "context": [CONTEXT],
        "answers": [{"text": [text for text, _ in found], "answer_start": [start for _, start in found]}],
    }
    return make_features(examples, [0], tokenizer, max_seq_len, 8)


def spans_of(features: dict, row: int = 0) -> list[str]:
    """The gold spans of a feature as text; the empty text is [CLS]."""
    offsets = features["offset_mapping"][row]
    return [
        "" if offsets[first] is None else CONTEXT[offsets[first][0] : offsets[last][1]]
        for first, last in zip(features["gold_starts"][row], features["gold_ends"][row], strict=True)
    ]


SECOND = ("1443년", CONTEXT.rindex("1443년"))


def test_every_gold_answer_is_a_span_and_the_first_stays_the_label(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    features = features_of(bert_tokenizer, ["1443년", "조선의", SECOND])
    assert spans_of(features) == ["1443년", "조선의", "1443년"]
    assert features["gold_starts"][0][0] == features["start_positions"][0]
    assert features["gold_ends"][0][0] == features["end_positions"][0]
    assert features["gold_starts"][0][2] > features["gold_starts"][0][0]


def test_the_same_tokens_are_one_span(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    assert spans_of(features_of(bert_tokenizer, ["1443년", "조선의", "1443년"])) == ["1443년", "조선의"]
    # one word piece: both answers are that token
    assert spans_of(features_of(bert_tokenizer, ["조선", ("조", CONTEXT.index("조선"))])) == ["조선"]


def test_a_window_holds_the_spans_that_are_all_in_it(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    features = features_of(bert_tokenizer, ["조선의", SECOND], max_seq_len=36)
    windows = [spans_of(features, row) for row in range(len(features["length"]))]
    assert windows[0] == ["조선의"] and windows[-1] == ["1443년"] and len(windows) > 2
    assert [""] in windows  # in between
    labels = [start == cls for start, cls in zip(features["start_positions"], features["cls_index"], strict=True)]
    assert labels == [window != ["조선의"] for window in windows]  # the first gold answer alone


def test_no_answer_is_cls(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    features = features_of(bert_tokenizer, [])
    assert features["gold_starts"] == features["gold_ends"] == [features["cls_index"]] == [[0]]


@pytest.mark.parametrize("tokenizer_name", ["bert_tokenizer", "roberta_tokenizer"])
def test_a_batch_pads_gold_spans(tokenizer_name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(tokenizer_name)
    rows = []
    for answers in ([], ["1443년", "조선의", SECOND], ["세종"]):
        columns = features_of(tokenizer, answers)
        rows.append({name: values[0] for name, values in columns.items()})
    batch = FeatureCollator(tiny_bert(tokenizer), tokenizer)(rows)
    golds = [[*zip(row["gold_starts"], row["gold_ends"], strict=True)] for row in rows]
    assert [len(spans) for spans in golds] == [1, 3, 1]
    expected = torch.tensor([spans + [(-1, -1)] * (3 - len(spans)) for spans in golds])  # (batch, golds, 2)
    assert torch.equal(torch.stack([batch["start_positions"], batch["end_positions"]], dim=-1), expected)
    assert batch["cls_index"].tolist() == [0, 0, 0]

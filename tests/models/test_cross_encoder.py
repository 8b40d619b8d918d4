"""Cross-encoders against Transformers used directly, one pair at a time."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import assert_close
from tiny_models import tiny_bert
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from models.cross_encoder import (
    CrossEncoder,
    Pair,
    RerankerSettings,
    load_cross_encoder,
    load_cross_encoder_to_train,
    save_cross_encoder,
)
from runtime.errors import UserError

_PASSAGES = [
    ("세종", "세종은 조선의 제4대 왕이다. 그는 1443년에 훈민정음을 만들었다."),
    ("서울", "서울은 대한민국의 수도이다. 한강이 서울의 가운데를 흐른다."),
    ("", "수성의 하루는 지구의 176일과 같다."),
    ("금성", "금성은 행성이다. " * 40),
]
_QUESTIONS = ["훈민정음은 언제 만들어졌는가?", "서울의 인구는 얼마인가?", "태양에 가장 가까운 행성은 무엇인가?"]
PAIRS = [Pair(question, *passage) for question in _QUESTIONS for passage in _PASSAGES]


def one_by_one(folder: str, texts: list[tuple[str, str]], max_len: int) -> list[float]:
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    scores = []
    for question, passage in texts:
        inputs = tokenizer(question, passage, truncation="only_second", max_length=max_len, return_tensors="pt")
        scores.append(model.eval()(**inputs).logits.item())
    return scores


def test_scores_are_those_of_transformers_one_by_one(reranker_path: str) -> None:
    cross_encoder, told = load_cross_encoder(reranker_path), []
    texts = [(pair.question, f"{pair.title}: {pair.text}" if pair.title else pair.text) for pair in PAIRS]
    expected = one_by_one(reranker_path, texts, 128)  # as many as the model has positions
    scores = cross_encoder.score(PAIRS, told.append, batch_size=4, precision="fp32")
    assert (scores.dtype, scores.shape) == (np.float32, (len(PAIRS),))
    assert_close(scores, expected)
    assert np.std(expected) > 0.01
    assert told == [4, 4, 4]
    assert cross_encoder.score([]).shape == (0,)


def test_saved_and_moved_it_scores_as_before(reranker_path: str, tmp_path: Path) -> None:
    loaded = load_cross_encoder(reranker_path)
    before = CrossEncoder(loaded.model, loaded.tokenizer, RerankerSettings(max_len=40, title_prefix=False))
    save_cross_encoder(tmp_path / "saved", before, {"metrics": {"step": 3}})
    (tmp_path / "saved").rename(tmp_path / "moved")
    after = load_cross_encoder(str(tmp_path / "moved"))
    assert after.settings == before.settings
    assert_close(after.score(PAIRS, precision="fp32"), before.score(PAIRS, precision="fp32"))
    expected = one_by_one(reranker_path, [(pair.question, pair.text) for pair in PAIRS], 40)
    assert_close(after.score(PAIRS, precision="fp32"), expected)
    assert json.loads((tmp_path / "moved" / "metrics.json").read_text()) == {"step": 3}


def test_only_the_passage_is_cut(bert_tokenizer) -> None:
    cross_encoder = CrossEncoder(tiny_bert(bert_tokenizer), bert_tokenizer, RerankerSettings(max_len=48))
    question = bert_tokenizer("수도는 서울인가?", add_special_tokens=False)["input_ids"]
    passage = bert_tokenizer("서울: " + "서울은 수도이다. " * 30, add_special_tokens=False)["input_ids"]
    (row,) = cross_encoder.tokenize([Pair("수도는 서울인가?", "서울", "서울은 수도이다. " * 30)])
    cls, sep = bert_tokenizer.cls_token_id, bert_tokenizer.sep_token_id
    rest = 48 - 3 - len(question)
    assert row["input_ids"] == [cls, *question, sep, *passage[:rest], sep]
    assert row["token_type_ids"] == [0] * (len(question) + 2) + [1] * (rest + 1)


def test_a_question_takes_half_at_most(bert_tokenizer) -> None:
    cross_encoder = CrossEncoder(tiny_bert(bert_tokenizer), bert_tokenizer, RerankerSettings(max_len=32))
    question = bert_tokenizer("왕은 누구인가 " * 30, add_special_tokens=False)["input_ids"]
    (row,) = cross_encoder.tokenize([Pair("왕은 누구인가 " * 30, "세종", "세종은 왕이다. " * 30)])
    assert row["input_ids"][1:17] == question[:16]
    assert row["input_ids"][17] == bert_tokenizer.sep_token_id
    assert len(row["input_ids"]) == 32


def test_decomposed_text_reads_as_composed(bert_tokenizer) -> None:
    cross_encoder = CrossEncoder(tiny_bert(bert_tokenizer), bert_tokenizer, RerankerSettings(max_len=64))
    decomposed = [Pair(*(unicodedata.normalize("NFD", text) for text in pair)) for pair in PAIRS]
    assert cross_encoder.tokenize(decomposed) == cross_encoder.tokenize(PAIRS)


@pytest.mark.parametrize("mark", ["\u200b", " \ufeff\n", "\u00ad"])
def test_what_cannot_be_seen_at_the_edges_is_not_read(roberta_tokenizer, mark: str) -> None:
    cross_encoder = CrossEncoder(tiny_bert(roberta_tokenizer), roberta_tokenizer, RerankerSettings(max_len=64))
    edged = [Pair(f"{mark}{pair.question}{mark}", pair.title or mark, f"{pair.text}{mark}") for pair in PAIRS]
    assert cross_encoder.tokenize(edged) == cross_encoder.tokenize(PAIRS)


def test_inputs_follow_the_tokenizer_and_batches_are_rounded_up(roberta_tokenizer, bert_tokenizer) -> None:
    for tokenizer, inputs in ((roberta_tokenizer, set()), (bert_tokenizer, {"token_type_ids"})):
        cross_encoder = CrossEncoder(tiny_bert(tokenizer), tokenizer, RerankerSettings(max_len=128))
        rows = cross_encoder.tokenize(PAIRS[:2])
        batch = cross_encoder.pad(rows)
        assert set(batch) == {"input_ids", "attention_mask"} | inputs
        longest = max(len(row["input_ids"]) for row in rows)
        assert batch["input_ids"].shape == (2, -(-longest // 16) * 16)
        assert batch["attention_mask"].sum(dim=1).tolist() == [len(row["input_ids"]) for row in rows]
        assert (batch["input_ids"][batch["attention_mask"] == 0] == tokenizer.pad_token_id).all()
    narrow = CrossEncoder(tiny_bert(bert_tokenizer), bert_tokenizer, RerankerSettings(max_len=40))
    assert narrow.pad(narrow.tokenize(PAIRS))["input_ids"].shape == (len(PAIRS), 40)  # not 48


def test_scoring_leaves_training_as_it_was(encoder_path: str) -> None:
    cross_encoder = load_cross_encoder_to_train(encoder_path, RerankerSettings(64), 0.3, torch.device("cpu"))
    cross_encoder.model.train()
    assert cross_encoder.model.config._attn_implementation == "eager"  # sdpa is slow there with dropout
    first, second = (cross_encoder.score(PAIRS, precision="fp32") for _ in range(2))
    assert_close(first, second)  # no dropout in it
    assert cross_encoder.model.training
    assert cross_encoder.model.config._attn_implementation == "eager"
    dropouts = {module.p for module in cross_encoder.model.modules() if isinstance(module, torch.nn.Dropout)}
    assert dropouts == {0.3}


def test_training_starts_from_an_encoder_or_goes_on(
    encoder_path: str, reranker_path: str, log_lines: list[str]
) -> None:
    settings, cpu = RerankerSettings(128), torch.device("cpu")
    new = load_cross_encoder_to_train(encoder_path, settings, None, cpu)
    assert new.model.classifier.out_features == 1
    assert log_lines == [
        f"INFO new scores on {encoder_path} (bert.pooler.dense.bias, bert.pooler.dense.weight, classifier.bias, …)"
    ]
    again = load_cross_encoder_to_train(reranker_path, settings, None, cpu)
    assert len(log_lines) == 1
    trained = load_cross_encoder(reranker_path)
    assert_close(again.score(PAIRS, precision="fp32"), trained.score(PAIRS, precision="fp32"))
    with pytest.raises(UserError) as caught:
        load_cross_encoder_to_train(encoder_path, RerankerSettings(129), None, cpu)
    assert str(caught.value) == f"--reranker_max_len 129 is more than {encoder_path} can read (128 tokens)"


def test_what_is_no_reranker_is_refused(encoder_path: str, reranker_path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_cross_encoder(encoder_path)
    expected = f"--reranker {encoder_path} holds no trained reranker: train one with train_reranker.py"
    assert str(caught.value) == expected
    config = AutoConfig.from_pretrained(encoder_path, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "three")
    with pytest.raises(UserError) as caught:
        load_cross_encoder(str(tmp_path / "three"))
    assert str(caught.value) == f"--reranker {tmp_path}/three is a classifier of 3 labels; a reranker gives one score"
    with pytest.raises(UserError, match="no configuration could be loaded from the hub name"):
        load_cross_encoder("nowhere/nothing")


@pytest.mark.parametrize(
    "content",
    [
        "{", "[1]", "[" * 100_000, '{"max_length": 3}', '{"max_len": "x"}', '{"max_len": -1}', '{"max_len": 0}',
        '{"max_len": 96, "title_prefix": []}', '{"max_len": 129}',
    ],
    ids=range(9),
)  # fmt: skip
def test_damaged_settings_are_named(content: str, reranker_path: str, tmp_path: Path) -> None:
    save_cross_encoder(tmp_path / "saved", load_cross_encoder(reranker_path))
    (tmp_path / "saved" / "reranker.json").write_text(content)
    with pytest.raises(UserError, match=r"reranker\.json is damaged \(.*\): copy or train the reranker again"):
        load_cross_encoder(str(tmp_path / "saved"))


def test_missing_weights_are_named(reranker_path: str, bert_tokenizer, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(reranker_path)
    state = {name: value for name, value in model.state_dict().items() if "classifier" not in name}
    model.save_pretrained(tmp_path / "cut", state_dict=state)
    bert_tokenizer.save_pretrained(tmp_path / "cut")
    with pytest.raises(UserError, match=r"cut lacks 2 of its weights: classifier\.bias, classifier\.weight"):
        load_cross_encoder(str(tmp_path / "cut"))

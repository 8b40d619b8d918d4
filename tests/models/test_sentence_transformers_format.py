"""Encoders and rerankers of sentence-transformers here, and ours there: the library itself is the oracle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families import EMBEDDERS, Embedder
from sentence_transformers import CrossEncoder as TheirCrossEncoder
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny_models import tiny_bert_config
from transformers import BertForSequenceClassification

from arguments import RetrieverArguments
from models.arguments import EncoderSpec
from models.cross_encoder import CrossEncoder, Pair, RerankerSettings, load_cross_encoder, save_cross_encoder
from models.encoder import encode, load_bi_encoder, load_settings, save_bi_encoder
from models.inputs import titled
from runtime.errors import UserError

TEXTS = ["세종은 조선의 왕이다.", "서울은 대한민국의 수도이다. 한강이 서울의 가운데를 흐른다.", "수성"]
LONG = [text * 20 for text in TEXTS]
CPU = torch.device("cpu")


def theirs(encoder_path: str, pooling: str, normalize: bool, folder: Path, prompts: dict[str, str]) -> Path:
    """Save an encoder with sentence-transformers."""
    pooling = {"last": "lasttoken"}.get(pooling, pooling)
    modules = [Transformer(encoder_path), Pooling(32, pooling), *([Normalize()] if normalize else [])]
    similarity = "cosine" if normalize else "dot"
    model = SentenceTransformer(modules=modules, prompts=prompts, similarity_fn_name=similarity, device="cpu")
    model.save(str(folder))
    return folder


def vectors(path: Path, side: str, passage_max_len: int | None = 64) -> np.ndarray:
    encoder = load_bi_encoder(path, RetrieverArguments(title_prefix=False, passage_max_len=passage_max_len))
    if side == "q":
        rows, embed = encoder.tokenize_questions(TEXTS), encoder.embed_questions
    else:
        rows, embed = encoder.tokenize_passages([("", text) for text in TEXTS]), encoder.embed_passages
    return encode(embed, rows, encoder.pad, 2, "fp32", CPU, "texts")


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_their_encoder_needs_no_flags(encoder_path: str, tmp_path: Path, pooling: str, normalize: bool) -> None:
    folder = theirs(encoder_path, pooling, normalize, tmp_path / "st", {"query": "왕 ", "document": "수도 "})
    assert load_settings(folder, RetrieverArguments()) == EncoderSpec(pooling, normalize, "왕 ", "수도 ")
    model = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(vectors(folder, "q"), model.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(vectors(folder, "p"), model.encode_document(TEXTS), atol=1e-5)
    assert np.abs(vectors(folder, "q") - vectors(folder, "p")).max() > 1e-3  # prompts count
    given = load_settings(folder, RetrieverArguments(pooling="cls", question_prefix=""))
    assert (given.pooling, given.question_prefix, given.passage_prefix) == ("cls", "", "수도 ")


def test_the_format_of_older_versions(encoder_path: str, tmp_path: Path) -> None:
    folder = theirs(encoder_path, "mean", True, tmp_path / "st", {})
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": False}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"__version__": {}}))
    settings = EncoderSpec("mean", True, question_max_len=20, passage_max_len=20)
    assert load_settings(folder, RetrieverArguments()) == settings
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors(folder, "p", passage_max_len=None), expected, atol=1e-5)


def test_what_is_not_computed_here_is_refused(encoder_path: str, tmp_path: Path) -> None:
    folder = theirs(encoder_path, "max", False, tmp_path / "max", {})
    with pytest.raises(UserError, match=f"{folder} pools by max; here an encoder pools by cls, mean or last"):
        load_bi_encoder(folder, RetrieverArguments())
    folder = theirs(encoder_path, "mean", False, tmp_path / "other", {"query": "왕 "})
    for name, change, reason in (
        ("config_sentence_transformers.json", {"similarity_fn_name": "euclidean"}, "compares vectors by euclidean"),
        ("1_Pooling/config.json", {"include_prompt": False}, "leaves its prompts out of the pooling"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "reads text in lower case"),
    ):
        before = (folder / name).read_text()
        (folder / name).write_text(json.dumps(json.loads(before) | change))
        with pytest.raises(UserError, match=f"{folder} {reason}"):
            load_bi_encoder(folder, RetrieverArguments())
        (folder / name).write_text(before)
    load_bi_encoder(folder, RetrieverArguments(passage_max_len=64))
    modules = [Transformer(encoder_path), Pooling(32, "mean"), Dense(32, 8)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "dense"))
    with pytest.raises(UserError, match=r"dense is an encoder .* lists Transformer, Pooling, Dense; only"):
        load_bi_encoder(tmp_path / "dense", RetrieverArguments())
    (folder / "modules.json").write_text('[{"idx": 0}]')
    with pytest.raises(UserError, match="damaged files of sentence-transformers"):
        load_bi_encoder(folder, RetrieverArguments())


@pytest.mark.parametrize("embedder", EMBEDDERS, ids=lambda embedder: embedder.id)
def test_a_published_encoder_gives_the_same_vectors_here_and_there(embedder: Embedder, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    embedder.build(folder, TEXTS)
    flags = RetrieverArguments(title_prefix=False, question_max_len=128, **embedder.flags)
    prefixes = [embedder.prompts.get("query", ""), embedder.prompts.get("document", "")]
    q_prefix, p_prefix = list(embedder.flags.values()) or prefixes
    side = "left" if "Qwen3" in embedder.name else "right"
    pooling, longest = embedder.steps.split()[0], min(256, embedder.max_len)
    expected = EncoderSpec(pooling, True, q_prefix, p_prefix, False, 128, longest, padding_side=side)
    assert load_settings(folder, flags) == expected
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    for dimensions in (None, 8):
        bi_encoder = load_bi_encoder(folder, replace(flags, dimensions=dimensions), shared=True)
        for texts, rows, embed, prefix in (
            (TEXTS, bi_encoder.tokenize_questions(TEXTS), bi_encoder.embed_questions, q_prefix),
            (
                LONG,
                bi_encoder.tokenize_passages([("", text) for text in LONG]),
                bi_encoder.embed_passages,
                p_prefix,
            ),
        ):
            model.max_seq_length = expected.question_max_len if texts is TEXTS else longest
            found = encode(embed, rows, bi_encoder.pad, 2, "fp32", CPU, "texts")
            there = model.encode(texts, prompt=prefix, truncate_dim=dimensions, normalize_embeddings=True)
            np.testing.assert_allclose(found, there, atol=1e-5)
            assert found.shape == (len(texts), bi_encoder.width) and found.std(axis=0).max() > 1e-3
    with pytest.raises(UserError, match=r"--dimensions 33 is more than the 32 of "):
        load_bi_encoder(folder, replace(flags, dimensions=33))


def test_sixteen_thousand_tokens_are_read_and_no_more(tmp_path: Path) -> None:
    (embedder,) = (row for row in EMBEDDERS if row.max_len == 16384)
    embedder.build(tmp_path / "copy", TEXTS)
    bi_encoder = load_bi_encoder(tmp_path / "copy", RetrieverArguments(passage_max_len=16384))
    (row,) = bi_encoder.tokenize_passages([("", TEXTS[0] * 2000)])
    assert len(row["input_ids"]) == 16384 and set(row) == {"input_ids"}
    with pytest.raises(UserError, match="--passage_max_len 16385 is more than"):
        load_bi_encoder(tmp_path / "copy", RetrieverArguments(passage_max_len=16385))


def test_a_default_prompt_is_for_texts_that_have_none_of_their_own(encoder_path: str, tmp_path: Path) -> None:
    folder = theirs(encoder_path, "mean", True, tmp_path / "st", {})
    path = folder / "config_sentence_transformers.json"
    for prompts, default, expected in (
        ({"retrieval": "왕 "}, "retrieval", ("왕 ", "왕 ")),
        ({"retrieval": "왕 ", "passage": ""}, "retrieval", ("왕 ", "")),
        ({"query": "왕 "}, "query", ("왕 ", "")),
        ({"query": "왕 "}, None, ("왕 ", "")),
        ({"document": "수도 ", "question": "왕 "}, "document", ("왕 ", "수도 ")),
    ):
        path.write_text(json.dumps({"prompts": prompts, "default_prompt_name": default}))
        found = load_settings(folder, RetrieverArguments())
        assert (found.question_prefix, found.passage_prefix) == expected


def test_shortened_vectors_have_their_scores_there(encoder_path: str, tmp_path: Path) -> None:
    flags = RetrieverArguments(pooling="mean", normalize=True, dimensions=8, passage_max_len=64)
    save_bi_encoder(load_bi_encoder(encoder_path, flags, shared=True), tmp_path)
    model = SentenceTransformer(str(tmp_path / "q_encoder"), device="cpu")
    ours = vectors(tmp_path, "q")
    np.testing.assert_allclose(model.similarity(model.encode(TEXTS), model.encode(TEXTS)), ours @ ours.T, atol=1e-5)
    assert ours.shape == (3, 8)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_ours_opens_there(encoder_path: str, tmp_path: Path, pooling: str, normalize: bool) -> None:
    flags = RetrieverArguments(
        pooling=pooling, normalize=normalize, question_prefix="왕 ", passage_prefix="수도 ", passage_max_len=64
    )
    save_bi_encoder(load_bi_encoder(encoder_path, flags), tmp_path)
    for side, name in (("q", "q_encoder"), ("p", "p_encoder")):
        model = SentenceTransformer(str(tmp_path / name), device="cpu")
        np.testing.assert_allclose(model.encode(TEXTS), vectors(tmp_path, side), atol=1e-5)
    assert model.max_seq_length == 64 and model.encode(TEXTS).dtype == np.float32


@pytest.mark.parametrize("name", ["bert_tokenizer", "roberta_tokenizer"])
def test_a_reranker_that_was_saved_here_gives_the_same_scores_there(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(name)
    config = tiny_bert_config(tokenizer)
    config.num_labels, config.initializer_range = 1, 0.3  # scores that differ
    torch.manual_seed(0)
    ours = CrossEncoder(BertForSequenceClassification(config).eval(), tokenizer, RerankerSettings(max_len=48))
    pairs = [
        Pair(question, title, text)
        for question in ("왕은 누구인가?", "수도는 어디인가?")
        for title, text in (("세종", TEXTS[0]), ("", TEXTS[1]), ("서울", TEXTS[1] * 9))  # the last is cut
    ]
    scores = ours.score(pairs, precision="fp32")
    save_cross_encoder(tmp_path / "best", ours)
    theirs = TheirCrossEncoder(str(tmp_path / "best"), device="cpu")
    found = theirs.predict([(pair.question, titled(pair.title, pair.text)) for pair in pairs])
    np.testing.assert_allclose(found, scores, atol=1e-5)
    assert np.std(scores) > 0.01
    assert theirs.max_seq_length == 48
    again = load_cross_encoder(str(tmp_path / "best")).score(pairs, precision="fp32")
    np.testing.assert_allclose(again, scores, atol=1e-6)


def test_an_encoder_may_begin_with_the_weights_of_a_reranker(reranker_path: str, tmp_path: Path) -> None:
    save_cross_encoder(tmp_path / "best", load_cross_encoder(reranker_path))
    assert load_settings(tmp_path / "best", RetrieverArguments()) == EncoderSpec()
    load_bi_encoder(tmp_path / "best", RetrieverArguments(passage_max_len=64))


def test_our_reranker_opens_there(reranker_path: str) -> None:
    pairs = [("왕은 누구인가?", text) for text in TEXTS]
    model = TheirCrossEncoder(reranker_path, device="cpu", activation_fn=torch.nn.Identity())
    scores = load_cross_encoder(reranker_path).score([Pair(question, "", text) for question, text in pairs])
    np.testing.assert_allclose(model.predict(pairs), scores, atol=0.02)  # ours may be in bf16
    fp32 = load_cross_encoder(reranker_path).score([Pair(q, "", text) for q, text in pairs], precision="fp32")
    np.testing.assert_allclose(model.predict(pairs), fp32, atol=1e-5)

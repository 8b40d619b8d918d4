"""Token vectors against their definition and against sentence-transformers, in both directions."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from transformers import AutoModel, AutoTokenizer

from arguments import RetrieverArguments
from models.encoder import load_bi_encoder, save_bi_encoder
from models.token_encoder import (
    hash_token_encoder,
    load_token_encoder,
    load_token_encoder_to_train,
    save_token_encoder,
)
from runtime.errors import UserError

QUESTIONS = ["왕은 누구인가?", "수도는?"]
PASSAGES = [("세종", "왕이다."), ("", "서울은 대한민국의 수도이다, 그렇다.")]
TEXTS = ["세종: 왕이다.", "서울은 대한민국의 수도이다, 그렇다."]
LENGTHS = {"question_max_len": 32, "passage_max_len": 48}


@pytest.fixture(scope="module")
def folder(encoder_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a new encoder of tokens, of 16 numbers each."""
    torch.manual_seed(0)
    encoder = load_token_encoder_to_train(encoder_path, RetrieverArguments(**LENGTHS), 16, None)
    run = tmp_path_factory.mktemp("run")
    save_token_encoder(encoder, run)
    return run


def close(found, expected) -> None:
    assert [one.shape for one in found] == [one.shape for one in expected]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(two), atol=1e-5)


def test_vectors_are_the_projected_hidden_states_of_marked_text_without_punctuation(folder: Path) -> None:
    name = str(folder / "token_encoder")
    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
    projection = load_file(f"{name}/1_Dense/model.safetensors")["linear.weight"]  # (16, hidden)
    expected = {}
    for marker, texts in (("[Q]", QUESTIONS), ("[D]", TEXTS)):
        expected[marker] = []
        for text in texts:
            ids = tokenizer(f"{marker} {text}")["input_ids"]
            assert tokenizer.convert_ids_to_tokens(ids)[1] == marker
            with torch.no_grad():
                hidden = model(torch.tensor([ids])).last_hidden_state[0]  # (tokens, hidden)
            marks = {".", ",", ":", "##.", "##,", "##:"} if marker == "[D]" else set()
            kept = [piece not in marks for piece in tokenizer.convert_ids_to_tokens(ids)]
            expected[marker].append(F.normalize(hidden @ projection.T, dim=-1)[kept])
    encoder = load_token_encoder(folder)
    close(encoder.encode_questions(QUESTIONS, 2, "fp32"), expected["[Q]"])
    close(encoder.encode_passages(PASSAGES, 2, "fp32"), expected["[D]"])

    with torch.no_grad():  # as training embeds them: zeros for what does not count
        q, p = encoder(encoder.question_batch(QUESTIONS), encoder.passage_batch(PASSAGES))
    close([row[row.any(dim=-1)] for row in q], expected["[Q]"])
    close([row[row.any(dim=-1)] for row in p], expected["[D]"])
    maxsim = [[(one @ two.T).max(dim=1).values.sum() for two in expected["[D]"]] for one in expected["[Q]"]]
    torch.testing.assert_close(encoder.score(q, p), torch.tensor(maxsim))


def test_our_folder_opens_in_sentence_transformers_with_equal_vectors(folder: Path) -> None:
    theirs = MultiVectorEncoder(str(folder / "token_encoder"), device="cpu")
    ours = load_token_encoder(folder)
    close(ours.encode_questions(QUESTIONS, 2, "fp32"), theirs.encode_query(QUESTIONS))
    close(ours.encode_passages(PASSAGES, 2, "fp32"), theirs.encode_document(TEXTS))
    assert theirs.similarity_fn_name == "maxsim"


def test_their_folder_opens_here_with_what_it_says_of_questions(encoder_path: str, tmp_path: Path) -> None:
    """Prompts, lengths, and questions that are expanded by ``[MASK]`` to a length of their own."""
    expansion = {"strategy": "fixed", "attend": False, "length": 24}
    modules = [
        Transformer(encoder_path, document_length=12, query_expansion=expansion),
        Dense(32, 8, bias=False, activation_function=None, module_input_name="token_embeddings"),
        MultiVectorMask(),
        Normalize("token_embeddings"),
    ]
    theirs = MultiVectorEncoder(modules=modules, device="cpu", prompts={"query": "왕 ", "document": "글 "})
    theirs.save_pretrained(str(tmp_path / "theirs"), create_model_card=False)
    ours = load_token_encoder(tmp_path / "theirs")
    found = ours.encode_questions(QUESTIONS, 2, "fp32")
    assert [len(one) for one in found] == [24, 24]
    close(found, theirs.encode_query(QUESTIONS))
    passages = ours.encode_passages(PASSAGES, 2, "fp32")
    assert len(passages[1]) == 12
    close(passages, theirs.encode_document(TEXTS))
    with pytest.raises(UserError, match=r"--question_max_len: questions of .* are expanded to a length of its own"):
        load_token_encoder_to_train(tmp_path / "theirs", RetrieverArguments(question_max_len=30), None, None)
    with pytest.raises(UserError, match=r"--token_width 16: .* gives vectors of 8 numbers"):
        load_token_encoder_to_train(tmp_path / "theirs", RetrieverArguments(), 16, None)
    shorter = load_token_encoder_to_train(tmp_path / "theirs", RetrieverArguments(passage_max_len=8), 8, None)
    assert len(shorter.encode_passages(PASSAGES, 2, "fp32")[1]) == 8


def test_pooling_leaves_the_means_of_clusters(folder: Path) -> None:
    encoder = load_token_encoder(folder)
    (whole,), (half,) = (encoder.encode_passages(PASSAGES[1:], 1, "fp32", pooling=pooling) for pooling in (1, 2))
    assert len(half) == 1 + (len(whole) - 1) // 2
    np.testing.assert_allclose(half[0], whole[0], atol=1e-6)  # of the first token
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    (third,) = encoder.encode_passages(PASSAGES[1:], 1, "bf16", pooling=3)
    assert len(third) == 1 + (len(whole) - 1) // 3 and third.dtype == np.float32


def test_control_tokens_in_a_text_are_text_and_jamo_are_composed(folder: Path) -> None:
    encoder = load_token_encoder(folder)
    sep, marker = (encoder.tokenizer.convert_tokens_to_ids(token) for token in ("[SEP]", "[D]"))
    ids = encoder.passage_batch([("", "왕 [SEP] 수도 [D] 왕")])["input_ids"][0].tolist()
    assert (ids.count(sep), ids.count(marker)) == (1, 1)
    whole, apart = (
        encoder.question_batch([unicodedata.normalize(form, "수도")])["input_ids"] for form in ("NFC", "NFD")
    )
    assert torch.equal(whole, apart)


def test_an_encoder_with_prompts_keeps_them(encoder_path: str, tmp_path: Path) -> None:
    flags = RetrieverArguments(question_prefix="질문 ", **LENGTHS)
    encoder = load_token_encoder_to_train(encoder_path, flags, None, 0.25)
    assert encoder.model.prompts["query"] == "질문 " and not encoder.model.prompts["document"]
    assert "[Q]" not in encoder.tokenizer.get_vocab()
    assert encoder.p_encoder.config.hidden_dropout_prob == encoder.p_encoder.config.attention_probs_dropout_prob == 0.25
    assert encoder.model.get_embedding_dimension() == 128


def test_other_weights_are_another_encoder(folder: Path, tmp_path: Path) -> None:
    encoder = load_token_encoder(folder)
    save_token_encoder(encoder, tmp_path)
    assert hash_token_encoder(tmp_path) == hash_token_encoder(folder)
    with torch.no_grad():
        encoder.model[1].linear.weight[0, 0] += 1
    save_token_encoder(encoder, tmp_path)
    assert hash_token_encoder(tmp_path) != hash_token_encoder(folder)


def test_what_cannot_be_used_is_said_in_a_sentence(encoder_path: str, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"is no multi-vector encoder: train one with train_dpr.py --interaction multi"):
        load_token_encoder(encoder_path)
    save_token_encoder(load_token_encoder_to_train(encoder_path, RetrieverArguments(**LENGTHS), 8, None), tmp_path)
    with pytest.raises(UserError, match=r"holds an encoder of token vectors: search with .* MultiVectorRetrieval"):
        load_bi_encoder(tmp_path, RetrieverArguments())
    long = RetrieverArguments(question_max_len=32, passage_max_len=256)
    with pytest.raises(UserError, match=r"--passage_max_len 256 is more than .* can read \(128 tokens\)"):
        load_token_encoder_to_train(encoder_path, long, None, None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r'pip install "sentence-transformers>=6\.2,<7"'):
        load_token_encoder_to_train(encoder_path, RetrieverArguments(**LENGTHS), None, None)


def test_training_starts_from_no_damaged_weights(encoder_path: str, tmp_path: Path) -> None:
    save_bi_encoder(load_bi_encoder(encoder_path, RetrieverArguments(**LENGTHS)), tmp_path)
    weights = tmp_path / "p_encoder/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"p_encoder is damaged \(model.safetensors is not as it was written\)"):
        load_token_encoder_to_train(tmp_path / "p_encoder", RetrieverArguments(**LENGTHS), 8, None)

"""Readers: ordinary checkpoints in both directions, for every encoder family, and clear words for what is no reader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import assert_close, is_close
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    BertConfig,
    BigBirdConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
    XLMRobertaConfig,
)
from transformers.utils import logging as transformers_logging

from models import check_length, load_reader, load_tokenizer, save_reader
from models.heads import HEADS
from models.reader import attention_dropout
from runtime.errors import UserError

_TINY = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "initializer_range": 0.5,
}
FAMILIES = {
    "bert": BertConfig(**_TINY),
    "roberta": RobertaConfig(**_TINY, type_vocab_size=1),
    "xlm-r": XLMRobertaConfig(**_TINY, type_vocab_size=1),
    "electra": ElectraConfig(**_TINY, embedding_size=16),
    "deberta-v2": DebertaV2Config(**_TINY, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "distilbert": DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=64, qa_dropout=0.0),
    "big_bird": BigBirdConfig(**_TINY, attention_type="original_full"),
    "modernbert": ModernBertConfig(**_TINY, pad_token_id=1, bos_token_id=2, eos_token_id=3, attention_dropout=0.1),
}


@pytest.fixture(params=FAMILIES)
def family_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A random encoder of each family, without a reader on it."""
    torch.manual_seed(0)
    AutoModel.from_config(FAMILIES[request.param]).save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    """Start and end logits (2, batch, tokens) of two rows, the second with padding."""
    tokens = torch.arange(40, device=model.device).view(2, 20) + 5
    mask = torch.ones_like(tokens)
    mask[1, 12:] = 0
    outputs = model(input_ids=tokens, attention_mask=mask)
    return torch.stack([outputs.start_logits, outputs.end_logits])


# ------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_of_transformers_is_a_reader(reader_path: str, device: torch.device) -> None:
    theirs = AutoModelForQuestionAnswering.from_pretrained(reader_path).eval().to(device)
    ours = load_reader(reader_path, trained=True).eval().to(device)
    assert_close(logits(ours), logits(theirs))
    assert ours.dtype == torch.float32


def test_a_reader_is_a_checkpoint_of_transformers(
    encoder_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    ours = load_reader(encoder_path, head_dropout=0.3).eval()
    save_reader(tmp_path / "saved", ours, bert_tokenizer)
    theirs = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved").eval()
    assert_close(logits(ours), logits(theirs))


def test_every_encoder_family_becomes_a_reader_that_comes_back_from_its_folder(
    family_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, device: torch.device
) -> None:
    model = load_reader(family_path, "linear", attention="sdpa", head_dropout=0.1).eval().to(device)
    encoder = AutoModel.from_pretrained(family_path)
    for name, value in encoder.state_dict().items():
        if not name.startswith("pooler."):
            assert torch.equal(model.base_model.state_dict()[name].cpu(), value), name
    before = logits(model)
    assert before.shape == (2, 2, 20) and before.std() > 0
    save_reader(tmp_path / "saved", model, bert_tokenizer)
    shutil.rmtree(family_path)
    moved = (tmp_path / "saved").rename(tmp_path / "elsewhere")
    again = load_reader(str(moved), trained=True).eval()
    assert_close(logits(again), before)
    assert again.config.reader_head == {"name": "linear", "dropout": 0.1}


@pytest.mark.parametrize(("family", "expected"), [("bert", "sdpa"), ("deberta-v2", "eager")])
def test_a_family_without_the_wanted_attention_is_built_with_eager(family: str, expected: str, tmp_path: Path) -> None:
    AutoModel.from_config(FAMILIES[family]).save_pretrained(tmp_path)
    assert load_reader(str(tmp_path), attention="sdpa").config._attn_implementation == expected
    assert load_reader(str(tmp_path), attention="eager").config._attn_implementation == "eager"


def test_what_is_saved_is_whole_and_holds_no_pickle(
    reader_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = load_reader(reader_path)
    save_reader(tmp_path / "saved", model, bert_tokenizer, {"arguments": {"model": "가"}, "metrics": {"f1": 1.5}})
    files = {path.name for path in (tmp_path / "saved").iterdir()}
    assert files == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "arguments.json", "metrics.json",
        "README.md", "checksums.json",
    }  # fmt: skip
    assert '"model": "가"' in (tmp_path / "saved" / "arguments.json").read_text(encoding="utf-8")
    assert len(load_tokenizer(str(tmp_path / "saved"))) == len(bert_tokenizer)

    with pytest.raises(TypeError):  # a record that is no JSON
        save_reader(tmp_path / "saved", model, bert_tokenizer, {"arguments": {"model": object()}})
    assert {path.name for path in (tmp_path / "saved").iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_loading_is_quiet_and_leaves_the_log_as_it_was(
    reader_path: str, capfd: pytest.CaptureFixture[str], log_lines: list[str], encoder_path: str
) -> None:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.enable_progress_bar()  # which a command run before has switched off
    load_reader(reader_path)
    load_tokenizer(reader_path)
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == (verbosity, True)
    transformers_logging.disable_progress_bar()
    try:
        load_reader(reader_path)
        assert not transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.enable_progress_bar()
    assert capfd.readouterr() == ("", "")
    load_reader(encoder_path)
    assert log_lines == [f"INFO new linear head on {encoder_path} (qa_outputs.bias, qa_outputs.weight)"]


# ---------------------------------------------------------------------------------------------------- head, dropouts


def test_the_heads_dropout_acts_in_training_alone(reader_path: str) -> None:
    plain = load_reader(reader_path, head_dropout=0.0, backbone_dropout=0.0)
    dropping = load_reader(reader_path, head_dropout=0.5, backbone_dropout=0.0)
    expected = logits(plain.eval())
    assert_close(logits(plain.train()), expected)
    assert_close(logits(dropping.eval()), expected)
    dropping.train()
    assert not is_close(logits(dropping), logits(dropping))


def test_the_heads_dropout_scales_what_it_keeps(reader_path: str) -> None:
    model = load_reader(reader_path, head_dropout=0.25, backbone_dropout=0.0).train()
    seen: list[torch.Tensor] = []
    model.qa_outputs.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits(model)
    model.eval()
    logits(model)
    dropped, whole = seen
    kept = dropped != 0
    assert 0.65 < kept.float().mean() < 0.85
    assert_close(dropped[kept], whole[kept] / 0.75)


def test_the_dropout_of_the_checkpoint_holds_until_another_is_given(
    reader_path: str, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    assert load_reader(reader_path).config.reader_head == {"name": "linear", "dropout": 0.0}
    save_reader(tmp_path / "saved", load_reader(reader_path, head_dropout=0.4), bert_tokenizer)
    saved = str(tmp_path / "saved")
    assert load_reader(saved).config.reader_head["dropout"] == 0.4
    assert load_reader(saved, head_dropout=0.0).config.reader_head["dropout"] == 0.0


@pytest.mark.parametrize("family_path", ["bert", "electra", "deberta-v2", "distilbert", "modernbert"], indirect=True)
def test_backbone_dropout_sets_hidden_and_attention_dropout(family_path: str) -> None:
    own = load_reader(family_path)
    assert attention_dropout(own.config) == pytest.approx(0.1)
    model = load_reader(family_path, backbone_dropout=0.35)
    assert attention_dropout(model.config) == 0.35
    ratios = {module.p for module in model.base_model.modules() if isinstance(module, torch.nn.Dropout)}
    assert ratios == {0.35}
    assert set(model.config.to_dict()) == set(own.config.to_dict())
    for attribute in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        assert getattr(model.config, attribute, 0.35) == 0.35
    still = load_reader(family_path, backbone_dropout=0.0).train()
    assert_close(logits(still), logits(still))


def test_an_unknown_head_names_the_choices(reader_path: str) -> None:
    with pytest.raises(UserError) as refusal:
        load_reader(reader_path, "convolution")
    assert str(refusal.value) == f"--head convolution is not a reader head; choose from: {', '.join(HEADS)}"


# ----------------------------------------------------------------------------------------------- what cannot be read


@pytest.fixture
def damaged(reader_path: str, tmp_path: Path) -> Path:
    """A reader's folder, to be damaged."""
    return shutil.copytree(reader_path, tmp_path / "reader")


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_an_encoder_is_refused_where_a_trained_reader_is_needed(encoder_path: str) -> None:
    with pytest.raises(UserError) as refusal:
        load_reader(encoder_path, trained=True)
    assert str(refusal.value) == (
        f"--model {encoder_path} holds an encoder but no trained reader (missing: qa_outputs.bias, "
        "qa_outputs.weight); train one first with train_mrc.py"
    )


def test_a_checkpoint_that_lacks_weights_of_its_encoder_is_refused(damaged: Path) -> None:
    weights = load_file(damaged / "model.safetensors")
    name = "bert.encoder.layer.1.attention.self.query.weight"
    del weights[name]
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"lacks 1 weights of a bert of this size: {name}"):
        load_reader(str(damaged))


def test_weights_of_another_size_than_the_configuration_are_refused(reader_path: str, damaged: Path) -> None:
    _edit(damaged / "config.json", hidden_size=64)
    with pytest.raises(UserError, match=r"weights of a bert of this size: bert\.embeddings.*, …"):
        load_reader(reader_path, config_name=str(damaged))


def test_a_damaged_folder_is_named(damaged: Path) -> None:
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=f"no model could be loaded from the folder {damaged}: "):
        load_reader(str(damaged))
    (damaged / "model.safetensors").unlink()
    with pytest.raises(UserError, match=f"no model could be loaded from the folder {damaged}: .*no file named"):
        load_reader(str(damaged))
    (damaged / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=f"no tokenizer could be loaded from the folder {damaged}: "):
        load_tokenizer(str(damaged))
    (damaged / "config.json").write_text("{")
    with pytest.raises(UserError, match=f"no configuration could be loaded from the folder {damaged}: .*valid JSON"):
        load_reader(str(damaged))


@pytest.mark.parametrize("load", [load_reader, load_tokenizer])
def test_what_is_nowhere_is_named(load: Any) -> None:
    with pytest.raises(UserError, match=r"from the hub name \(and there is no such folder\) not/there: "):
        load("not/there")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_without_tokenizer_does_not_get_one_made_up(family: str, tmp_path: Path) -> None:
    FAMILIES[family].save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("model_type", ["theirs", "bert"])
@pytest.mark.parametrize("load", [load_reader, load_tokenizer])
def test_code_that_comes_with_a_model_is_neither_run_nor_asked_about(
    damaged: Path, load: Any, model_type: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (damaged / "theirs.py").write_text(f"open({str(damaged / 'was_here')!r}, 'w')")
    own = {"AutoConfig": "theirs.Config", "AutoTokenizer": [None, "theirs.Tokenizer"]}
    _edit(damaged / "config.json", model_type=model_type, auto_map=own)
    _edit(damaged / "tokenizer_config.json", tokenizer_class="Theirs", auto_map=own)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match=rf"^{damaged} brings code of its own \(\w+\), and code .* is never run here: "):
        load(str(damaged))
    assert not (damaged / "was_here").exists()
    assert "[y/N]" not in capfd.readouterr().out


def test_a_model_that_transformers_has_learnt_since_needs_no_code_of_its_own(damaged: Path) -> None:
    own = {"AutoConfig": "somebody/theirs--theirs.BertConfig", "AutoModelForCausalLM": "theirs.TheirsForCausalLM"}
    _edit(damaged / "config.json", auto_map=own)
    (damaged / "theirs.py").write_text(f"open({str(damaged / 'was_here')!r}, 'w')")
    assert load_reader(str(damaged)).config.model_type == "bert"
    assert not (damaged / "was_here").exists()


def test_a_configuration_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match=f"no model could be loaded from the folder {tmp_path}: Unrecognized"):
        load_reader(str(tmp_path))


def test_more_tokens_than_positions_are_refused(encoder_path: str) -> None:
    model = load_reader(encoder_path)
    check_length(model, 128)
    with pytest.raises(UserError, match=r"--max_seq_len 129 is more than .* can read \(128 tokens\)"):
        check_length(model, 129)


def test_roberta_has_two_positions_less_than_its_table() -> None:
    config = RobertaConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    config.max_position_embeddings, config.pad_token_id = 34, 1
    model = RobertaForQuestionAnswering(config)
    check_length(model, 32)
    model(input_ids=torch.full((1, 32), 5))
    with pytest.raises(UserError, match=r"\(32 tokens\)"):
        check_length(model, 33)


@pytest.mark.parametrize(
    "head",
    ["x", 5, [], {}, {"name": "cnn_sds"}, {"name": 1, "dropout": 0.1}, {"name": "cnn", "dropout": "x"}],
    ids=str,
)
def test_a_damaged_head_is_named(damaged: Path, head: Any) -> None:
    _edit(damaged / "config.json", reader_head=head)
    with pytest.raises(
        UserError, match=rf"^{damaged}: reader_head in its config.json is damaged .*: copy or train the"
    ):
        load_reader(str(damaged))


@pytest.mark.parametrize("content", ["[]", "null", '{"auto_map": 5}', "[" * 100_000], ids=range(4))
def test_a_tokenizer_configuration_of_another_shape_is_said(damaged: Path, content: str) -> None:
    (damaged / "tokenizer_config.json").write_text(content)
    with pytest.raises(
        UserError, match=rf"^no tokenizer could be loaded from the folder {damaged}: a file does not hold"
    ):
        load_tokenizer(str(damaged))

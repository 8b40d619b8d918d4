"""Every head on every encoder family: trained by either command, saved, and back from its folder alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comparing import assert_close, assert_same_weights, is_close, weights
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    BertConfig,
    BigBirdConfig,
    DebertaV2Config,
    ElectraConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
    XLMRobertaConfig,
)

import inference
import train_mrc
import train_mrc_v2
from models import load_reader, load_tokenizer, save_reader
from models.heads import HEADS
from runtime.errors import UserError
from runtime.files import read_json

FAMILIES: dict[str, tuple[type[PretrainedConfig], str, dict[str, Any]]] = {
    "bert": (BertConfig, "bert_tokenizer", {}),
    "roberta": (RobertaConfig, "roberta_tokenizer", {"max_position_embeddings": 140}),
    "electra": (ElectraConfig, "bert_tokenizer", {"embedding_size": 12}),
    "deberta-v2": (
        DebertaV2Config,
        "bert_tokenizer",
        {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "conv_kernel_size": 3},
    ),
    "xlm-roberta": (XLMRobertaConfig, "roberta_tokenizer", {"max_position_embeddings": 140}),
    "big_bird": (BigBirdConfig, "bert_tokenizer", {"block_size": 4, "num_random_blocks": 1}),
}
PREFIXES = {
    "bert": "bert",
    "roberta": "roberta",
    "electra": "electra",
    "deberta-v2": "deberta",
    "xlm-roberta": "roberta",
}


@pytest.fixture(scope="session")
def encoder_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a tiny random encoder of a family, with its tokenizer."""
    folders: dict[str, str] = {}

    def make(family: str) -> str:
        if family not in folders:
            config_class, tokenizer_name, special = FAMILIES[family]
            tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(tokenizer_name)
            sizes = {"hidden_size": 18, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
            ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
            config = config_class(**{"max_position_embeddings": 128} | sizes | ids | special)
            folders[family] = str(tmp_path_factory.mktemp(family))
            torch.manual_seed(0)
            AutoModel.from_config(config).save_pretrained(folders[family])
            tokenizer.save_pretrained(folders[family])
        return folders[family]

    return make


@pytest.fixture
def train(dataset_path: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Train for two steps on four examples; return the folder of the reader."""

    def run(model: str, *flags: str, command: ModuleType = train_mrc) -> Path:
        words = (
            f"--model {model} --dataset_path {dataset_path} --output_dir {tmp_path / 'run'} --max_seq_len 64 "
            f"--cache_dir {tmp_path_factory.getbasetemp() / 'cache'} --stride_len 8 --max_train_samples 4 "
            "--per_device_train_batch_size 2 --max_steps 2 --precision fp32 --learning_rate 1e-3"
        )
        command.main(
            [*words.split(), *flags, *(["--do_train", "--save_strategy", "no"] if command is train_mrc_v2 else [])]
        )
        return tmp_path / "run" / "best"

    return run


def batch_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(2, 24, dtype=torch.long)
    mask[1, 17:] = 0
    ids = torch.randint(5, model.config.vocab_size, (2, 24), generator=generator)
    return {"input_ids": ids.where(mask.bool(), model.config.pad_token_id), "attention_mask": mask}


def logits_of(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        outputs = model.eval()(**{name: values.to(model.device) for name, values in batch_of(model).items()})
    return torch.stack([outputs.start_logits, outputs.end_logits])  # (2, batch, tokens)


@pytest.mark.parametrize("command", [train_mrc, train_mrc_v2], ids=["loop", "trainer"])
@pytest.mark.parametrize("family", PREFIXES)
@pytest.mark.parametrize("head", [head for head in HEADS if head != "passage_selection"])  # trained on a table only
def test_trains_saves_and_comes_back(
    head: str,
    family: str,
    command: ModuleType,
    encoder_of: Callable[[str], str],
    train: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[PreTrainedModel] = []

    def keep(folder: Path, model: PreTrainedModel, *rest: Any) -> None:
        trained.append(model)
        save_reader(folder, model, *rest)

    monkeypatch.setattr(command, "save_reader", keep)
    folder = train(encoder_of(family), "--head", head, "--head_dropout_ratio", "0.1", command=command)
    model = load_reader(str(folder), trained=True, attention=trained[0].config._attn_implementation)
    assert (model.config.reader_head["name"], model.config.reader_head["dropout"]) == (head, 0.1)
    assert_same_weights(model, trained[0])
    assert_close(logits_of(model), logits_of(trained[0]))

    prefix = PREFIXES[family]
    assert model.base_model is getattr(model, prefix)
    saved = load_file(folder / "model.safetensors")
    assert {name.split(".")[0] for name in saved} == {prefix, "qa_outputs" if head == "linear" else "head"}
    encoder = AutoModel.from_pretrained(folder).state_dict()
    assert all(
        torch.equal(encoder[name.removeprefix(f"{prefix}.")], saved[name]) for name in saved if name.startswith(prefix)
    )
    random = load_file(Path(encoder_of(family)) / "model.safetensors")
    trained_names = [name for name in encoder if "layer.1.output.dense" in name]
    assert trained_names and not any(torch.equal(encoder[name], random[name]) for name in trained_names)


def test_big_bird_with_cnn_sds(encoder_of: Callable[[str], str], train: Callable[..., Path]) -> None:
    folder = train(encoder_of("big_bird"), "--head", "cnn_sds", "--head_channels", "8", "--head_repeats", "2")
    model = load_reader(str(folder), trained=True)
    assert model.config.reader_head == {
        "name": "cnn_sds", "dropout": 0.0, "shared": True, "channels": 8, "kernel_size": 3, "repeats": 2
    }  # fmt: skip
    assert_close(logits_of(model), logits_of(load_reader(str(folder))))


@pytest.mark.parametrize(
    ("head", "family"), [("cnn_sds", "roberta"), ("lstm_ln", "bert"), ("start_conditioned_end", "deberta-v2")]
)
def test_inference_needs_the_folder_alone(
    head: str,
    family: str,
    encoder_of: Callable[[str], str],
    train: Callable[..., Path],
    dataset_path: str,
    tmp_path: Path,
) -> None:
    moved = train(encoder_of(family), "--head", head).rename(tmp_path / "moved")
    metrics = inference.main(
        f"--do_eval --model {moved} --dataset_path {dataset_path} --output_dir {tmp_path / 'out'} --max_seq_len 64 "
        "--stride_len 8 --retriever_type none --precision fp32".split()
    )
    assert 0 <= metrics["exact_match"] <= metrics["f1"] <= 100
    predictions = read_json(tmp_path / "out" / "predictions.json")
    assert len(predictions) == 6 and all(predictions.values())


def test_an_alias_is_saved_under_the_name_of_the_head(
    encoder_of: Callable[[str], str], train: Callable[..., Path]
) -> None:
    folder = train(encoder_of("roberta"), "--custom_model", "CustomRobertaForQuestionAnsweringWithLSTMCNNHead")
    assert load_reader(str(folder), trained=True).config.reader_head["name"] == "lstm_cnn"


@pytest.mark.parametrize("family", PREFIXES)
def test_a_frozen_encoder_stays_and_the_head_is_trained(
    family: str, encoder_of: Callable[[str], str], train: Callable[..., Path]
) -> None:
    folder = train(encoder_of(family), "--head", "cnn", "--freeze_pretrained_weight", "all")
    before, after = (load_file(Path(path) / "model.safetensors") for path in (encoder_of(family), folder))
    encoder = {name: value for name, value in after.items() if not name.startswith("head.")}
    assert encoder and all(torch.equal(value, before[name.split(".", 1)[1]]) for name, value in encoder.items())
    bias = after["head.parts.0.branches.1.convolution.bias"]
    assert bias.ne(0).any()  # it began at 0


@pytest.mark.parametrize("family", PREFIXES)
def test_attention_can_be_exchanged(family: str, encoder_of: Callable[[str], str]) -> None:
    model = load_reader(encoder_of(family), "cnn")
    fused = model.config._attn_implementation
    assert fused == ("eager" if family == "deberta-v2" else "sdpa") and model._supports_sdpa == (fused == "sdpa")
    logits = logits_of(model)
    model.set_attn_implementation("eager")
    assert model.base_model.config._attn_implementation == "eager"
    assert_close(logits_of(model), logits)


# ------------------------------------------------------------------------------------------- from one head to another


def head_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return model.head.state_dict()


@pytest.fixture(scope="session")
def attention_reader(encoder_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a reader whose head has the very shapes of another one's."""
    folder = tmp_path_factory.mktemp("attention")
    save_reader(folder / "reader", load_reader(encoder_of("bert"), "attention"), load_tokenizer(encoder_of("bert")))
    return str(folder / "reader")


def test_the_same_head_is_kept(attention_reader: str) -> None:
    saved, again = (load_reader(attention_reader, head) for head in (None, "attention"))
    assert_same_weights(again, saved)
    kept = weights(Path(attention_reader))
    assert {f"head.{name}" for name in head_weights(saved)} <= kept.keys()
    assert all(torch.equal(kept[f"head.{name}"], value.cpu()) for name, value in head_weights(saved).items())


@pytest.mark.parametrize("head", ["multi_head_attention", "lstm"])
def test_another_head_is_new_and_the_encoder_stays(
    attention_reader: str, head: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    before = load_reader(attention_reader)
    with caplog.at_level(logging.INFO):
        model = load_reader(attention_reader, head)
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"new {head} head on {attention_reader} instead of its attention head (head.")
    for name, value in before.base_model.state_dict().items():
        assert torch.equal(model.base_model.state_dict()[name], value)
    shared = [
        name
        for name in head_weights(before).keys() & head_weights(model).keys()
        if "weight" in name and "norm" not in name
    ]
    assert shared and not any(torch.equal(head_weights(before)[name], head_weights(model)[name]) for name in shared)
    save_reader(tmp_path / "next", model, load_tokenizer(attention_reader))
    assert_same_weights(load_reader(str(tmp_path / "next"), trained=True), model)


def test_from_linear_to_a_head_and_back(encoder_of: Callable[[str], str], tmp_path: Path) -> None:
    first = load_reader(encoder_of("roberta"))
    tokenizer = load_tokenizer(encoder_of("roberta"))
    save_reader(tmp_path / "linear", first, tokenizer)
    second = load_reader(str(tmp_path / "linear"), "lstm")
    save_reader(tmp_path / "lstm", second, tokenizer)
    third = load_reader(str(tmp_path / "lstm"), "linear")
    assert isinstance(third, RobertaForQuestionAnswering) and third.config.reader_head["name"] == "linear"
    for model in (second, third):
        for name, value in first.base_model.state_dict().items():
            assert torch.equal(model.base_model.state_dict()[name], value)
    assert not torch.equal(third.qa_outputs.weight, first.qa_outputs.weight)


def test_parameters_come_from_the_flags_then_the_checkpoint_then_the_head(
    encoder_of: Callable[[str], str], tmp_path: Path
) -> None:
    path = encoder_of("bert")
    first = load_reader(path, "cnn_sds", head_parameters={"channels": 8, "shared": None}, head_dropout=0.3)
    described = {"name": "cnn_sds", "dropout": 0.3, "shared": True, "channels": 8, "kernel_size": 3, "repeats": 5}
    assert first.config.reader_head == described
    save_reader(tmp_path / "first", first, load_tokenizer(path))

    kept = load_reader(str(tmp_path / "first"), "cnn_sds", head_parameters={"channels": 8}, head_dropout=0.0)
    assert kept.config.reader_head == described | {"dropout": 0.0}
    assert all(torch.equal(head_weights(kept)[name], value) for name, value in head_weights(first).items())
    # the same weights by name and shape, and yet another head
    other = load_reader(str(tmp_path / "first"), head_parameters={"repeats": 2})
    assert other.config.reader_head == described | {"repeats": 2}
    assert not any(
        torch.equal(head_weights(other)[name], value) for name, value in head_weights(first).items() if value.ndim > 1
    )


def test_what_a_head_does_not_have_is_refused(
    encoder_of: Callable[[str], str], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="--head nosuch is not a reader head; choose from: linear, cnn_sds, cnn, lstm"):
        load_reader(encoder_of("bert"), "nosuch")
    with pytest.raises(UserError, match="--head_channels would be ignored: the linear head has no channels"):
        train(encoder_of("bert"), "--head_channels", "8")
    with pytest.raises(SystemExit):
        train_mrc.parse(["--head", "cnn", "--head_repeats", "2"])
    assert "--head_repeats would be ignored: only --head cnn_sds reads it" in capsys.readouterr().err


@pytest.mark.parametrize("head", HEADS)
def test_dropout_reaches_every_head_and_only_while_training(head: str, encoder_of: Callable[[str], str]) -> None:
    models = [
        load_reader(encoder_of("bert"), head, head_dropout=dropout, backbone_dropout=0.0) for dropout in (0.5, 0.0)
    ]
    models[1].load_state_dict(models[0].state_dict())
    dropped, undropped = (model.train()(**batch_of(model)).start_logits for model in models)
    assert not is_close(dropped, undropped)
    assert_close(*(logits_of(model) for model in models))

"""The long names of heads as classes: they make readers of any family that train, are saved and come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from comparing import assert_equal_weights
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

import models
from models import Bert_CNN_Answering, CustomRobertaForQuestionAnsweringWithCNNHead, load_reader, save_reader
from models.heads import ALIASES
from runtime.errors import UserError

IDS = torch.tensor([[2, 7, 8, 3, 9, 10, 11, 3]])  # (1, tokens)


@pytest.mark.parametrize("name", ALIASES)
def test_every_long_name_makes_readers_with_its_head(name: str, encoder_path: str, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(encoder_path)
    config.dropout_ratio = 0.25
    torch.manual_seed(0)
    reader = getattr(models, name).from_pretrained(encoder_path, config=config)
    torch.manual_seed(0)
    expected = load_reader(encoder_path, ALIASES[name], head_dropout=0.25)
    assert isinstance(reader, PreTrainedModel) and not reader.training
    assert reader.config.reader_head == expected.config.reader_head
    states = reader.state_dict(), expected.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_saved_one_comes_back_with_its_trained_head(encoder_path: str, tmp_path: Path) -> None:
    reader = CustomRobertaForQuestionAnsweringWithCNNHead.from_pretrained(encoder_path)
    tokenizer = AutoTokenizer.from_pretrained(encoder_path)
    save_reader(tmp_path / "a", reader, tokenizer)
    reader.save_pretrained(tmp_path / "b")  # as their users do
    tokenizer.save_pretrained(tmp_path / "b")
    assert_equal_weights(tmp_path / "a", tmp_path / "b")
    for again in (
        load_reader(str(tmp_path / "b"), trained=True),
        load_reader(str(tmp_path / "b"), trained=True, config_name=encoder_path),
        CustomRobertaForQuestionAnsweringWithCNNHead.from_pretrained(tmp_path / "b"),
        # the configuration of the encoder that it was trained from knows of no head
        CustomRobertaForQuestionAnsweringWithCNNHead.from_pretrained(
            tmp_path / "b", config=AutoConfig.from_pretrained(encoder_path)
        ),
    ):
        torch.testing.assert_close(again(IDS).start_logits, reader(IDS).start_logits)
    assert Bert_CNN_Answering.from_pretrained(tmp_path / "b").config.reader_head["name"] == "cnn_sds"


def test_a_configuration_alone_makes_an_untrained_one(encoder_path: str) -> None:
    config = AutoConfig.from_pretrained(encoder_path)
    config.dropout_ratio = 0.5
    reader = Bert_CNN_Answering(config)
    assert reader.config.reader_head["name"] == "cnn_sds" and reader.config.reader_head["dropout"] == 0.5
    loaded = Bert_CNN_Answering(config).from_pretrained(encoder_path, from_tf=False, config=config)
    weights = load_reader(encoder_path, "cnn_sds").state_dict()
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(loaded.state_dict()[name], weights[name])
    assert not torch.equal(reader.state_dict()[name], weights[name])


def test_weights_of_tensorflow_are_refused(encoder_path: str) -> None:
    with pytest.raises(UserError, match="weights of TensorFlow are not read"):
        Bert_CNN_Answering.from_pretrained(encoder_path, from_tf=True)

"""Readers by the long names of their heads, as their users' code has them.

from models import CustomRobertaForQuestionAnsweringWithCNNHead

config = AutoConfig.from_pretrained("klue/roberta-large")
config.dropout_ratio = 0.1  # before the head
model = CustomRobertaForQuestionAnsweringWithCNNHead.from_pretrained("klue/roberta-large", config=config)
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from models.head_reader import head_reader_class
from models.heads import ALIASES, default_parameters
from models.reader import load_reader
from runtime.errors import UserError


class NamedReader:
    """Makes readers with the head ``head`` on an encoder of any family, as the classes ``AutoModel...`` make theirs.

    What it makes is saved by ``save_pretrained`` and comes back from ``models.load_reader``.
    """

    head: str

    def __new__(cls, config: PretrainedConfig) -> Any:
        """Return a reader with random weights; ``config`` learns its head."""
        dropout = getattr(config, "dropout_ratio", 0.0)
        config.reader_head = {"name": cls.head, "dropout": dropout} | default_parameters(cls.head)
        return head_reader_class(config)(config)

    @classmethod
    def from_pretrained(
        cls, name: str, config: PretrainedConfig | None = None, *, from_tf: bool = False
    ) -> PreTrainedModel:
        """Return the reader on the encoder, or the trained reader, in the folder or of the hub name ``name``.

        Raises :class:`UserError` as :func:`models.load_reader` does, and for weights of TensorFlow.
        """
        if from_tf:
            raise UserError(f"{name}: weights of TensorFlow are not read; convert them to safetensors first")
        return load_reader(str(name), cls.head, config=config, head_dropout=getattr(config, "dropout_ratio", None))


def named_reader(name: str) -> type[NamedReader]:
    """Return the class of a long name, a key of :data:`models.heads.ALIASES`."""
    head = ALIASES[name]
    members = {"__module__": "models", "__doc__": f"Readers with the head {head}.", "head": head}
    return type(name, (NamedReader,), members)

"""Readers: an encoder with a head on top, loaded from and saved to self-contained folders.

What is listed here is imported when it is first asked for, so that the flags of models can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from models.heads import ALIASES

if TYPE_CHECKING:
    from models.loading import load_tokenizer
    from models.reader import check_length, load_reader, load_reader_to_train, save_reader

_PLACES = {
    "check_length": "models.reader",
    "load_reader": "models.reader",
    "load_reader_to_train": "models.reader",
    "load_tokenizer": "models.loading",
    "save_reader": "models.reader",
}

__all__ = ["check_length", "load_reader", "load_reader_to_train", "load_tokenizer", "save_reader", *ALIASES]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        found = getattr(import_module(_PLACES[name]), name)
    elif name in ALIASES:
        found = import_module("models.named_readers").named_reader(name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found

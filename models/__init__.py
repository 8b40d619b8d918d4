"""Readers: an encoder with a head on top, loaded from and saved to self-contained folders."""

from models.heads import ALIASES
from models.loading import load_tokenizer
from models.named_readers import named_reader
from models.reader import check_length, load_reader, load_reader_to_train, save_reader

globals().update({name: named_reader(name) for name in ALIASES})

__all__ = ["check_length", "load_reader", "load_reader_to_train", "load_tokenizer", "save_reader", *ALIASES]

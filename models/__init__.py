"""Readers: an encoder with a head on top, loaded from and saved to self-contained folders."""

from models.loading import load_tokenizer
from models.reader import check_length, load_reader, load_reader_to_train, save_reader

__all__ = ["check_length", "load_reader", "load_reader_to_train", "load_tokenizer", "save_reader"]

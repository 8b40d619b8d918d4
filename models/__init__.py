"""Readers: an encoder with a head on top, loaded from and saved to self-contained folders."""

from models.reader import load_reader, load_reader_to_train, load_tokenizer, save_reader

__all__ = ["load_reader", "load_reader_to_train", "load_tokenizer", "save_reader"]

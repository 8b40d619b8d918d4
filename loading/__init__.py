"""Loading: examples, the corpus, what is wrong with them, and exchange formats."""

"""Set the last articles of a SQuAD-format file aside, to choose checkpoints and weights on.

    python -m benchmarks.split --articles ../korquad/train.json --held_out 10 --out outputs/korquad

Writes train.json and validation.json into --out. No passage is in both, nor an article's other passages.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from runtime.files import read_json, write_json


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Set articles of a SQuAD-format file aside.", allow_abbrev=False)
    parser.add_argument("--articles", required=True, help="SQuAD-format JSON")
    parser.add_argument("--held_out", type=int, default=10, help="articles that become validation.json")
    parser.add_argument("--out", required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    content = read_json(arguments.articles)
    border = len(content["data"]) - arguments.held_out
    for name, articles in (("train", content["data"][:border]), ("validation", content["data"][border:])):
        write_json(Path(arguments.out) / f"{name}.json", content | {"data": articles})
        questions = sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])
        print(f"{arguments.out}/{name}.json: {len(articles)} articles, {questions} questions")


if __name__ == "__main__":
    main()

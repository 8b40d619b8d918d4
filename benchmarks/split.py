"""Split a SQuAD-format file by articles: no passage is in two parts, nor an article's other passages.

    python -m benchmarks.split --articles ../KorQuAD_v1.0_dev.json --titles benchmarks/korquad.json --out ../korquad
    python -m benchmarks.split --articles ../korquad/train.json --held_out 10 --out outputs/korquad

Writes into --out one file for each list of titles, articles in its order, or without --titles train.json and
validation.json, the last articles of --articles, to choose checkpoints and weights on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import UserError, run_command
from runtime.files import read_json, write_json


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Split a SQuAD-format file by articles.", allow_abbrev=False)
    parser.add_argument("--articles", required=True, help="SQuAD-format JSON")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--titles", help='JSON: {"train": [the titles of its articles], …}')
    parts.add_argument("--held_out", type=int, default=10, help="articles that become validation.json")
    parser.add_argument("--out", required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    content = read_json(arguments.articles)
    if arguments.titles is None:
        border = len(content["data"]) - arguments.held_out
        parts = {"train": content["data"][:border], "validation": content["data"][border:]}
    else:
        titled = {article["title"]: article for article in content["data"]}
        listed = read_json(arguments.titles)
        if missing := set().union(*listed.values()) - set(titled):
            raise UserError(f"{arguments.titles} lists {min(missing)!r}, which {arguments.articles} has no article of")
        parts = {name: [titled[title] for title in titles] for name, titles in listed.items()}
    for name, articles in parts.items():
        write_json(Path(arguments.out) / f"{name}.json", content | {"data": articles})
        questions = sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])
        print(f"{arguments.out}/{name}.json: {len(articles)} articles, {questions} questions")


if __name__ == "__main__":
    run_command(main)

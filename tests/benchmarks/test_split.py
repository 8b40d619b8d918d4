"""Articles in parts, whole: the last ones set aside, or those of given titles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import split
from runtime.errors import UserError


def test_the_last_articles_are_set_aside(tmp_path, capsys):
    articles = [
        {"title": str(row), "paragraphs": [{"context": f"글 {row}", "qas": [{"id": str(row)}] * row}]}
        for row in range(1, 6)
    ]
    (tmp_path / "all.json").write_text(json.dumps({"version": "1.0", "data": articles}), encoding="utf-8")
    out = tmp_path / "out"

    split.main(["--articles", str(tmp_path / "all.json"), "--held_out", "2", "--out", str(out)])

    train, validation = (json.loads((out / f"{name}.json").read_text("utf-8")) for name in ("train", "validation"))
    assert train == {"version": "1.0", "data": articles[:3]}
    assert validation == {"version": "1.0", "data": articles[3:]}
    assert capsys.readouterr().out == (
        f"{out}/train.json: 3 articles, 6 questions\n{out}/validation.json: 2 articles, 9 questions\n"
    )


def test_articles_go_where_their_titles_are(tmp_path):
    articles = [{"title": title, "paragraphs": []} for title in "abcd"]
    (tmp_path / "all.json").write_text(json.dumps({"version": "1.0", "data": articles}), encoding="utf-8")
    (tmp_path / "titles.json").write_text('{"train": ["d", "a"], "dev": ["c"]}', encoding="utf-8")

    split.main([f"--articles={tmp_path}/all.json", f"--titles={tmp_path}/titles.json", f"--out={tmp_path}"])

    for name, expected in {"train": [articles[3], articles[0]], "dev": [articles[2]]}.items():
        assert json.loads((tmp_path / f"{name}.json").read_text("utf-8")) == {"version": "1.0", "data": expected}


def test_a_title_without_an_article_is_named(tmp_path):
    (tmp_path / "all.json").write_text('{"data": [{"title": "a", "paragraphs": []}]}', encoding="utf-8")
    (tmp_path / "titles.json").write_text('{"train": ["a"], "dev": ["z"]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"titles.json lists 'z', which .*all.json has no article of"):
        split.main([f"--articles={tmp_path}/all.json", f"--titles={tmp_path}/titles.json", f"--out={tmp_path}"])
    assert not (tmp_path / "train.json").exists()


def test_the_measured_articles_are_told_apart():
    titles = json.loads((Path(split.__file__).parent / "korquad.json").read_text("utf-8"))
    assert {name: len(of_part) for name, of_part in titles.items()} == {"train": 95, "dev": 20}
    assert len({*titles["train"], *titles["dev"]}) == 115

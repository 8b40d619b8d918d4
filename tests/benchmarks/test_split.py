"""Articles set aside: the last ones, whole, and everything else left as it was."""

from __future__ import annotations

import json

from benchmarks import split


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

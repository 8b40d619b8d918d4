"""The READMEs tell the truth: their Python runs, their flags exist, and both tell the same."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import average
import inference
import retrieve
import score
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from arguments import RetrieverArguments
from models import load_reader
from models.heads import HEADS
from reading.augmentation import AUGMENTATIONS
from retrieval import RETRIEVERS
from retrieval.analyzers import ANALYZERS

ROOT = Path(train_mrc.__file__).parent
READMES = ["README.md", "README.ko.md"]


@pytest.mark.parametrize("name", READMES)
def test_the_python_examples_run(
    name: str,
    encoder_path: str,
    dataset_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = []
    for code in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL):
        code = code.replace("saved/e5-small-ko", encoder_path).replace("data/mini_wiki", dataset_path)
        code = code.replace("max_seq_len=384, stride_len=128", "max_seq_len=128, stride_len=16")
        exec(compile(code, name, "exec"), {})
        outputs.append(capsys.readouterr().out)
    reading, training = outputs
    assert re.match(r"\d+\.\d+ \{'exact_match': .*\n\{'id': .*'prediction_text': .*\n\{'id': .*'answers': ", reading)
    assert "eval_exact_match" in training
    assert re.search(r"^cnn \{.*'max_seq_len': 128.*\}$", training, flags=re.MULTILINE)
    assert load_reader("saved/notebook/best", trained=True).config.reader_head["dropout"] == 0.1


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize(
    ("command", "groups", "unused"),
    [
        ("train_mrc.py", train_mrc.Arguments, {}),
        ("train_dpr.py", train_dpr.Arguments, train_dpr.UNUSED),
        ("train_reranker.py", train_reranker.Arguments, train_reranker.UNUSED),
        ("retrieve.py", retrieve.Arguments, retrieve.UNUSED),
        ("inference.py", inference.Arguments, inference.UNUSED),
    ],
)
def test_the_table_of_flags_is_complete(name: str, command: str, groups: type, unused: dict[str, str]) -> None:
    section = (ROOT / name).read_text(encoding="utf-8").split(f"### {command}")[1].split("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|") and "`--" in line and " --" in line]
    listed = [flag for row in rows for flag in re.findall(r"--(\w+)", row)]
    expected = [
        field.name for group in get_type_hints(groups).values() for field in fields(group) if field.name not in unused
    ]
    assert listed == expected


def test_the_documented_commands_are_understood() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = (train_mrc, train_mrc_v2, train_dpr, train_reranker, retrieve, inference, score, average)
    parsers = {f"{command.__name__}.py": command.parse for command in commands}
    for name, parse in parsers.items():
        documented = re.findall(rf"^python {re.escape(name)} (.*)$", text, flags=re.MULTILINE)
        assert documented, name
        for words in documented:
            parse(shlex.split(words))


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("head", HEADS),
        ("augment", AUGMENTATIONS),
        ("retriever_type", [*RETRIEVERS, "get_retrieved_df", "none"]),
        ("analyzer", ANALYZERS),
        ("milvus_vectors", get_args(get_type_hints(RetrieverArguments)["milvus_vectors"])),
    ],
)
def test_the_tables_of_values_are_complete(name: str, flag: str, values: Iterable[str]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| `--{flag}` \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines())
    assert sorted(re.findall(r"`(\w+)`", first_cells)) == sorted(values)


@pytest.mark.parametrize("name", READMES)
def test_files_and_headings_that_are_linked_or_run_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", text)}
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert {"docs/heads.md", "docs/retrieval.md"} <= set(targets)
    assert [target for target in targets if target[0] == "#" and target[1:] not in headings] == []
    files = [target for target in targets if target[0] != "#"] + re.findall(r"script/\w+\.(?:sh|py)", text)
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_both_languages_have_the_same_commands_and_sections() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in READMES]
    for pattern in (r"```bash\n(.*?)```", r"^(#+) ", r"^\|(?=[^-])"):
        found = [re.findall(pattern, text, flags=re.DOTALL | re.MULTILINE) for text in texts]
        assert len(found[0]) == len(found[1]) > 0, pattern
    commands = [
        [
            line.split("    #")[0]
            for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
            for line in block.splitlines()
        ]
        for text in texts
    ]
    assert commands[0] == commands[1]
    assert READMES[1] in texts[0].splitlines()[2] and READMES[0] in texts[1].splitlines()[2]

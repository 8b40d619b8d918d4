"""Secrets given as flags are in no file, message or checkpoint of any command, and the command works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import inference
import retrieve
import train_mrc
import train_mrc_v2
import train_reranker
from runtime.errors import UserError
from tools import sweep

ROOT = Path(train_mrc.__file__).parent
SECRET = "s3cr3t-w0rd"
URL = f"https://me:{SECRET}@search.example:9200"


def files_with_the_secret(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_the_token_of_the_hub_is_in_nothing_that_training_leaves(training_command: list[str], tmp_path: Path) -> None:
    """Run as users run it: trackers, too, read the command line of the process."""
    words = [*training_command, "--do_train", "--do_eval", "--save_steps", "2", "--max_steps", "2", "--eval_steps", "2"]
    words[words.index("--num_train_epochs") : words.index("--num_train_epochs") + 2] = []
    words += ["--hub_token", SECRET, "--report_to", "wandb", "--logging_dir", str(tmp_path / "logs")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "HOME": str(tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "train_mrc_v2.py", *words], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    written = {path.name for path in tmp_path.rglob("*")}
    assert {"training_args.bin", "environment.json", "wandb", "best", "checkpoint-2", "trainer_state.json"} <= written
    assert files_with_the_secret(tmp_path) == []
    environment_record = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment_record["command"][environment_record["command"].index("--hub_token") + 1] == "***"


def test_the_token_comes_from_a_file_and_is_there_for_who_needs_it(
    training_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, original = [], train_mrc_v2.QATrainer.__init__

    def init(self, *args, **options):
        original(self, *args, **options)
        seen.append(self)

    monkeypatch.setattr(train_mrc_v2.QATrainer, "__init__", init)
    (tmp_path / "flags.yaml").write_text(f"hub_token: {SECRET}\nsave_steps: 1\nmax_steps: 1\ndo_train: true\n")
    words = [*training_command, "--config", str(tmp_path / "flags.yaml")]
    words[words.index("--num_train_epochs") : words.index("--num_train_epochs") + 2] = []
    train_mrc_v2.main(words)
    assert (tmp_path / "run" / "checkpoint-1" / "training_args.bin").exists()
    assert files_with_the_secret(tmp_path / "run") == []
    assert seen[0].args.hub_token == SECRET  # what is pushed to the hub needs it


@pytest.mark.parametrize(
    "flags",
    [
        {"retriever_type": "ElasticRetrieval", "elastic_url": URL},
        {"retriever_type": f"ElasticRetrieval,elastic_url={URL}"},
        {"retriever_type": f"ElasticRetrieval,elastic_url=me:{SECRET}@search.example:9200"},
        {"retriever_type": f"ElasticRetrieval,elastic_url=https://me:{SECRET}/x@search.example:9200"},
        {"retriever_type": f"ElasticRetrieval,elastic_url=https://me:{SECRET},x@search.example:9200"},
        {"retriever_type": f"ElasticRetrieval,elastic_url=https://search.example:9200/?api_key={SECRET}"},
        {"retriever_type": f"ElasticRetrieval,elastic_ulr={URL}"},
        {"retriever_type": "HybridRetrieval", "hybrid_retrievers": ["A", f"MilvusRetrieval,milvus_uri={URL}"]},
        {"retriever_type": "MilvusRetrieval", "milvus_uri": URL},
        {"retriever_type": "DenseRetrieval", "retriever_dir": f"https://host/model?token={SECRET}"},
        {"retriever_type": f"DenseRetrieval,retriever_dir=https://host/model?a=1&api_key={SECRET}"},
    ],
)
@pytest.mark.parametrize("from_a_file", [False, True])
def test_credentials_of_a_server_go_nowhere(
    flags: dict[str, str | list[str]],
    from_a_file: bool,
    reader_path: str,
    encoder_path: str,
    dataset_path: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file, out = tmp_path / "flags.json", tmp_path / "out"
    given = ["--config", str(file)]
    if from_a_file:
        file.write_text(json.dumps(flags))
    else:
        values = {name: [value] if isinstance(value, str) else value for name, value in flags.items()}
        given = [word for name, words in values.items() for word in (f"--{name}", *words)]
    shared = ["--dataset_path", dataset_path, "--index_dir", str(tmp_path / "index"), "--output_dir", str(out)]
    read = ["--model", reader_path, "--max_seq_len", "128", "--stride_len", "16"]
    for command, words in {
        inference: ["--do_predict", *read],
        retrieve: [],
        train_reranker: ["--reranker_model", encoder_path],
        train_mrc: [*read, "--cache_dir", str(tmp_path / "cache")],
    }.items():
        with pytest.raises((UserError, SystemExit)) as refusal:
            command.main([*words, *shared, *given])
        shown = capfd.readouterr()
        said = f"{refusal.value}{shown.out}{shown.err}"
        assert SECRET not in said
        reason = (
            "--retriever_type has no effect in train_mrc.py" if command is train_mrc else "must not hold credentials"
        )
        assert reason in said
        assert not out.exists() and set(files_with_the_secret(tmp_path)) <= {file}


@pytest.mark.parametrize("way", ["flags", "grid"])
@pytest.mark.parametrize(
    ("name", "value"), [("model", URL), ("hub_token", SECRET), ("model", f"http://h/?token={SECRET}")]
)
def test_a_sweep_keeps_no_secret(
    way: str, name: str, value: str, dataset_path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"flags": {"do_eval": True, "dataset_path": dataset_path}, "grid": {"learning_rate": ["1e-3"]}}
    given[way] |= {name: value if way == "flags" else [value]}
    words = [word for key, content in given.items() for word in (f"--{key}", json.dumps(content))]
    with pytest.raises(SystemExit):
        sweep.main([*words, "--output_dir", str(tmp_path / "out")])
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err
    assert ("must not hold credentials" if name == "model" else "hub_token is a secret") in shown.err
    assert files_with_the_secret(tmp_path) == []

"""Models that bring code of their own: refused in one sentence by every flag that names one, and the code never run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ask
import average
import inference
import retrieve
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from runtime.errors import UserError


@pytest.fixture
def foreign(reader_path: str, tmp_path: Path) -> Path:
    """A reader that asks for classes in its own ``theirs.py``, which leaves a file behind when it is run."""
    folder = tmp_path / "foreign"
    shutil.copytree(reader_path, folder)
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\nraise SystemExit('run')\n")
    own = {
        "AutoConfig": "theirs.TheirConfig",
        "AutoModel": "theirs.TheirModel",
        "AutoModelForQuestionAnswering": "theirs.TheirReader",
        "AutoModelForSequenceClassification": "theirs.TheirClassifier",
        "AutoTokenizer": ["theirs.TheirTokenizer", None],
    }
    for name, changes in {
        "config.json": {"model_type": "theirs", "auto_map": own},
        "tokenizer_config.json": {"tokenizer_class": "TheirTokenizer", "auto_map": own},
    }.items():
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


_TRAIN = "--dataset_path DATA --output_dir OUT --max_seq_len 128 --stride_len 16 --cache_dir CACHE --max_steps 1"
_READ = "--dataset_path DATA --output_dir OUT --index_dir INDEX --do_predict --max_seq_len 128 --stride_len 16"
_SEARCH = "--dataset_path DATA --output_dir OUT --index_dir INDEX"
CASES = [
    (train_mrc.main, f"{_TRAIN} --model FOREIGN"),
    (train_mrc.main, f"{_TRAIN} --model ENCODER --tokenizer FOREIGN"),
    (train_mrc.main, f"{_TRAIN} --model ENCODER --config_name FOREIGN"),
    (train_mrc.main, f"{_TRAIN} --model ENCODER --head cnn --config_name FOREIGN"),
    (train_mrc_v2.main, f"{_TRAIN} --do_train --model FOREIGN"),
    (train_mrc_v2.main, f"{_TRAIN} --do_train --model ENCODER --tokenizer FOREIGN"),
    (train_mrc_v2.main, f"{_TRAIN} --do_train --model ENCODER --config_name FOREIGN"),
    (inference.main, f"{_READ} --model FOREIGN"),
    (inference.main, f"{_READ} --model READER --tokenizer FOREIGN"),
    (inference.main, f"{_READ} --model READER --analyzer wordpiece --analyzer_model FOREIGN"),
    (inference.main, f"{_READ} --model READER --reranker FOREIGN"),
    (inference.main, f"{_READ} --model READER --retriever_type DenseRetrieval --retriever_dir FOREIGN"),
    (retrieve.main, f"{_SEARCH} --analyzer wordpiece --analyzer_model FOREIGN"),
    (retrieve.main, f"{_SEARCH} --retriever_type SparseRetrieval_TFIDF,analyzer=wordpiece,analyzer_model=FOREIGN"),
    (retrieve.main, f"{_SEARCH} --reranker FOREIGN"),
    (retrieve.main, f"{_SEARCH} --retriever_type SparseRetrieval_BM25P,reranker=FOREIGN"),
    (retrieve.main, f"{_SEARCH} --retriever_type DenseRetrieval --retriever_dir FOREIGN"),
    (train_dpr.main, "--dataset_path DATA --retriever_dir OUT --index_dir INDEX --dpr_model FOREIGN"),
    (
        train_dpr.main,
        "--dataset_path DATA --retriever_dir OUT --index_dir INDEX --dpr_model ENCODER --analyzer wordpiece "
        "--analyzer_model FOREIGN --question_max_len 32 --passage_max_len 96",
    ),
    (train_reranker.main, f"{_SEARCH} --analyzer bigram --reranker_model FOREIGN"),
    (train_reranker.main, f"{_SEARCH} --reranker_model ENCODER --analyzer wordpiece --analyzer_model FOREIGN"),
    (ask.main, "question --dataset_path DATA --index_dir INDEX --model FOREIGN"),
    (average.main, "FOREIGN READER --output_dir OUT"),
    (average.main, "READER FOREIGN --output_dir OUT"),
]


@pytest.mark.parametrize(("command", "words"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_code_of_a_model_is_refused_and_not_run(
    command: Callable[[list[str]], object],
    words: str,
    foreign: Path,
    encoder_path: str,
    reader_path: str,
    dataset_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # were anybody asked
    places = {"FOREIGN": foreign, "ENCODER": encoder_path, "READER": reader_path, "DATA": dataset_path}
    places |= {name: tmp_path / name.lower() for name in ("OUT", "INDEX", "CACHE")}
    for name, place in places.items():
        words = words.replace(name, str(place))
    with pytest.raises(UserError, match=rf"{foreign} brings code of its own \([\w, ]+\), and code that comes with a"):
        command(words.split())
    assert not (tmp_path / "was_run").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ("theirs", "holds no data set"),
        ("theirs/theirs.py", "is not valid JSON"),
        ("theirs/theirs", "holds no data set"),
    ],
)
def test_code_of_a_data_set_is_not_run(
    form: str, complaint: str, encoder_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loading script, as ``datasets`` once ran it, beside a name that could be the hub's."""
    for folder in ("theirs", "theirs/theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "theirs.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{form}:? {complaint}"):
        train_mrc.main(["--model", encoder_path, "--dataset_path", form, "--max_seq_len", "128", "--stride_len", "16"])
    assert not (tmp_path / "was_run").exists()

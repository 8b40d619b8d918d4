"""Model cards: the README.md of a saved model, as the Hugging Face hub shows it.

It says what the model is, what it was trained on and with which flags, how well it did, and how to load it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PretrainedConfig

from runtime.markdown import markdown_text

CARD_NAME = "README.md"
_SCORES = {
    "eval_exact_match": "exact match", "eval_f1": "F1", "eval_loss": "loss", "eval_recall@1": "recall@1",
    "eval_recall@5": "recall@5", "eval_recall@20": "recall@20", "eval_recall@100": "recall@100",
    "eval_mrr@10": "MRR@10",
}  # fmt: skip
_MODEL_FLAGS = ("model", "dpr_model", "reranker_model")
# Where a run was and how it was followed: it matters to nobody else.
_OF_THE_RUN = {
    *_MODEL_FLAGS, "dataset_path", "output_dir", "retriever_dir", "overwrite_output_dir", "resume_from_checkpoint",
    "run_name", "description", "logging_dir", "logging_steps", "report_to", "wandb_project", "wandb_entity",
    "push_to_hub", "hub_model_id", "hub_private_repo", "cache_dir", "index_dir",
}  # fmt: skip


class _Kind(NamedTuple):
    """What a card says of every model of a kind."""

    task: str
    title: str
    library: str
    loading: str


def reader_card(config: PretrainedConfig, records: Mapping[str, Any]) -> str:
    """Return the card of a reader; ``records`` are those of its run: ``arguments``, ``environment``, ``metrics``."""
    head = getattr(config, "reader_head", {"name": "linear"})["name"]
    loading = f"""
        With the code of this project:

        ```python
        from pipeline import Reader

        reader = Reader.load("{_name(records)}")  # a folder, or a name on the hub
        print(reader.read("질문", "정답이 들어 있는 문단")[0].text)
        ```
        """
    if head == "linear":
        loading += f"""
        With Transformers alone, which does not choose among windows of a long text as this project does:

        ```python
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        model = AutoModelForQuestionAnswering.from_pretrained("{_name(records)}")
        tokenizer = AutoTokenizer.from_pretrained("{_name(records)}")
        ```
        """
    else:
        loading += f"""
        It has the head `{head}`, which is code of this project. No code comes with the weights, so that
        `AutoModelForQuestionAnswering` does not load it, whatever `trust_remote_code` says.
        """
    if getattr(config, "title_prefix", False):
        loading += """
        It was trained to read `title: text`: give `read` the title as well.
        """
    title = f"Korean reader: an extractive question answering model with a {head} head"
    return _card(_Kind("question-answering", title, "transformers" if head == "linear" else "odqa", loading), records)


def encoders_card(records: Mapping[str, Any]) -> str:
    """Return the card of a pair of encoders; ``records`` as for :func:`reader_card`."""
    loading = f"""
        With the code of this project, once the folder is on disk (`hf download {_name(records)} --local-dir FOLDER`):

        ```bash
        python retrieve.py --retriever_type DenseRetrieval --retriever_dir FOLDER --dataset_path DATA
        ```

        With sentence-transformers, which puts no title before a passage:

        ```python
        from sentence_transformers import SentenceTransformer

        q_encoder, p_encoder = SentenceTransformer("FOLDER/q_encoder"), SentenceTransformer("FOLDER/p_encoder")
        ```
        """
    title = "Korean dense retriever: one encoder for questions, one for passages"
    return _card(_Kind("sentence-similarity", title, "sentence-transformers", loading), records)


def token_encoder_card(records: Mapping[str, Any]) -> str:
    """Return the card of a multi-vector encoder; ``records`` as for :func:`reader_card`."""
    loading = f"""
        With the code of this project, once the folder is on disk (`hf download {_name(records)} --local-dir FOLDER`):

        ```bash
        python retrieve.py --retriever_type MultiVectorRetrieval --retriever_dir FOLDER --dataset_path DATA
        ```

        With sentence-transformers, where a passage is given as `title: text`:

        ```python
        from sentence_transformers import MultiVectorEncoder

        encoder = MultiVectorEncoder("FOLDER/token_encoder")
        print(encoder.similarity(encoder.encode_query(["질문"]), encoder.encode_document(["제목: 문단"])))
        ```
        """
    title = "Korean multi-vector retriever: one vector for every token of questions and passages"
    return _card(_Kind("sentence-similarity", title, "sentence-transformers", loading), records)


def reranker_card(records: Mapping[str, Any]) -> str:
    """Return the card of a reranker; ``records`` as for :func:`reader_card`."""
    loading = f"""
        With the code of this project:

        ```bash
        python retrieve.py --retriever_type SparseRetrieval_BM25P --reranker {_name(records)} --dataset_path DATA
        ```

        With sentence-transformers, where a passage is given as `title: text` if it was trained so:

        ```python
        from sentence_transformers import CrossEncoder

        print(CrossEncoder("{_name(records)}").predict([("질문", "문단")]))
        ```
        """
    title = "Korean reranker: a cross-encoder that scores a passage for a question"
    return _card(_Kind("text-ranking", title, "sentence-transformers", loading), records)


def _card(kind: _Kind, records: Mapping[str, Any]) -> str:
    arguments, environment = records.get("arguments", {}), records.get("environment", {})
    measured = records.get("metrics", {})
    scores = {name: value for name, value in measured.items() if name in _SCORES}
    data = _shareable(arguments.get("dataset_path"))
    base = next((arguments[name] for name in _MODEL_FLAGS if arguments.get(name)), None)
    given = {name: value for name, value in environment.get("given", {}).items() if name not in _OF_THE_RUN}
    parts = [f"# {_name(records)}", f"{kind.title}.", "## How to load it", textwrap.dedent(kind.loading).strip()]

    trained = [f"- Started from: {_cell(base)}"] if base else []
    trained += [f"- Data: {_cell(data)}"] if data else []
    trained += [f"- Fingerprint of the {name} data: `{digest}`" for name, digest in environment.get("data", {}).items()]
    if "average" in records:
        trained.append(f"- The weights are the mean of {len(records['average']['averaged'])} checkpoints' weights.")
    if "step" in measured:
        trained.append(f"- Optimizer steps: {measured['step']}")
    if packages := environment.get("packages"):
        versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers") if packages.get(name))
        trained.append(f"- With {versions}, in {environment.get('precision')}")
    if trained:
        parts += ["## How it was trained", "\n".join(trained)]
    if given:
        rows = "\n".join(f"| `--{name}` | {_cell(value)} |" for name, value in given.items())
        parts.append(f"Flags, the others being at their defaults:\n\n| flag | value |\n|---|---|\n{rows}")
    rows = "\n".join(
        f"| {_SCORES[name]} | {value:.{4 if name == 'eval_loss' else 2}f} |" for name, value in scores.items()
    )
    figures = f"On the validation questions, in percent except for the loss:\n\n| score | value |\n|---|---|\n{rows}"
    parts += ["## Scores", figures if scores else "It was not measured."]
    parts += ["## Licence", "To be filled in: it depends on the licences of the data and of the model it started from."]
    return f"---\n{_header(kind, records, scores, base, data)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _header(
    kind: _Kind, records: Mapping[str, Any], scores: Mapping[str, float], base: str | None, data: str | None
) -> str:
    """Return what the hub reads: YAML without the lines around it."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(kind.task, data, data, name.removeprefix("eval_"), round(value, 4))
        for name, value in scores.items()
        if data and name != "eval_loss"
    ]
    return ModelCardData(
        language="ko",
        license="other",
        license_name="to-be-filled-in",
        library_name=kind.library,
        pipeline_tag=kind.task,
        base_model=base if base and _shareable(base) == base else None,
        model_name=_name(records) if results else None,
        eval_results=results or None,
    ).to_yaml()


def _name(records: Mapping[str, Any]) -> str:
    """Return the repository of the model, else the name of its run's folder."""
    arguments = records.get("arguments", {})
    folder = arguments.get("run_name") or arguments.get("output_dir") or arguments.get("retriever_dir") or "model"
    name = Path(folder).resolve().name
    if "average" in records:  # its arguments are those of the first reader
        return f"{name}-average"
    return arguments.get("hub_model_id") or name


def _shareable(value: Any) -> Any:
    """Return ``value``, of a path on this machine its last part."""
    if isinstance(value, str) and (value.startswith(("/", ".", "~")) or Path(value).exists()):
        path = Path(value).resolve()
        return f"{path.parent.name}/{path.name}" if path.name == "best" else path.name
    return value


def _cell(value: Any) -> str:
    shown = " ".join(str(_shareable(item)) for item in value) if isinstance(value, list) else str(_shareable(value))
    return markdown_text(shown)

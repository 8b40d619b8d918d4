"""Examples from every layout that a data set may have, always with the same columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loading.beir import beir_rows, qrels_of, queries_of
from loading.checks import ANSWER_NAMES, ID_NAMES, CheckedRows, check_rows
from loading.corpus import CORPUS_NAMES
from loading.tables import TABLES, Fault, PlacedRow, named_row, read_parquet, read_table, suffix_of
from runtime.errors import DataError, Problem, UserError
from runtime.files import first_there, read_users_json
from runtime.hashing import hash_rows
from runtime.log import get_logger

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

logger = get_logger(__name__)

_LAYOUTS = (
    "a data set is a competition folder (train_dataset/, test_dataset/), a folder written by save_to_disk, "
    "SQuAD-format JSON or a table (.csv, .tsv, .jsonl, .parquet), as a file or as a folder with train, validation or "
    "dev, and test (train.json), a BEIR folder, or a hub name (squad_kor_v1, klue:mrc)"
)
_FILES = (".json", *TABLES)
_OF_ALL_QUESTIONS = ("title", "doc_title", "context", "document_id", "doc_id")  # of an article, or a paragraph
_HASHED_AT_ONCE = 1000  # rows; another number gives other hashes
_EXACT_NAMES = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
_SPLIT_OF_WORD = {"train": "train", "dev": "validation", "valid": "validation", "test": "test"}
_HUB_NAME = re.compile(r"(?P<name>\w[\w.-]*(/\w[\w.-]*)?)(:(?P<config>[\w.-]+))?")


class _Column(NamedTuple):
    meant: str
    dtypes: str


_TEXT = _Column("text", "string|large_string|null")
# pandas stores whole numbers as floats where one is missing
_IDENTIFIER = _Column("text or whole numbers", rf"{_TEXT.dtypes}|u?int\d+|float\d+")
_COLUMNS = {
    "id": _IDENTIFIER,
    "guid": _IDENTIFIER,
    "question_id": _IDENTIFIER,
    "_id": _IDENTIFIER,
    "title": _TEXT,
    "doc_title": _TEXT,
    "question": _TEXT,
    "context": _TEXT,
    **dict.fromkeys(ANSWER_NAMES, _Column("text and answer_start, or texts", rf"nested|{_TEXT.dtypes}")),
    "answer_start": _Column("whole numbers", rf"nested|{_IDENTIFIER.dtypes}"),
    "is_impossible": _Column("true or false", rf"bool|{_IDENTIFIER.dtypes}"),
    "document_id": _IDENTIFIER,
    "doc_id": _IDENTIFIER,
}


class Source(NamedTuple):
    """Where one split comes from: its name in messages, and what yields its rows, each with its place.

    ``read`` takes the names that the data has for our columns, ``{theirs: ours}``.
    """

    file: str
    read: Callable[[Mapping[str, str]], Iterator[PlacedRow]]


def load_examples(
    dataset_path: str | Sequence[str],
    splits: Sequence[str],
    skip_bad_rows: bool = False,
    column_names: Mapping[str, str] | None = None,
    question_types: bool = False,
    questions_only: bool = False,
) -> DatasetDict:
    """Return the wanted ``splits`` (of train, validation, test) with the columns of :func:`example_features`.

    ``dataset_path`` may be several places, of which the first that is there counts; one that is nowhere may be a hub
    name. Unanswerable questions have empty answers. A row of test, with ``questions_only`` any row, needs only id
    and question; what else it lacks is empty.
    ``column_names`` maps our names to the data's where they differ: ``{"question": "query"}``. ``question_types`` adds
    the column ``question_type`` (KLUE's 1 to 3), as text, empty where the data names none.
    Raises :class:`UserError` when the path or a split is not there, and one :class:`DataError` with every problem of
    every wanted split. ``skip_bad_rows`` leaves bad rows out instead, and logs how many of each file and why.
    """
    from datasets import Dataset, DatasetDict

    checked: dict[str, CheckedRows] = {}
    damage: list[Problem] = []
    bad_rows: list[Problem] = []
    ours = {theirs: name for name, theirs in (column_names or {}).items()}
    places = [dataset_path] if isinstance(dataset_path, str) else list(dataset_path)
    bare = set(splits) if questions_only else {"test"}
    for split, source in _find_sources(places, splits, bare).items():
        try:
            rows = checked[split] = check_rows(source.file, source.read(ours), split in bare, question_types)
        except DataError as error:
            damage += error.problems
            continue
        if not skip_bad_rows:
            bad_rows += rows.problems
        elif not rows.columns["id"]:
            damage.append(Problem(source.file, "", f"all rows are bad: {rows.left_out}"))
        elif rows.problems:
            logger.warning("%s: left out %s", source.file, rows.left_out)
    if damage or bad_rows:
        way_out = "Correct these rows, or leave them out with --skip_bad_rows." if bad_rows else ""
        # A file that serves two splits has its problems twice.
        raise DataError(dict.fromkeys(damage + bad_rows), way_out)
    features = example_features(question_types)
    return DatasetDict({split: Dataset.from_dict(rows.columns, features) for split, rows in checked.items()})


def load_gold(path: str, names: Mapping[str, str] | None = None, question_types: bool = False) -> Dataset:
    """Return the questions that answers are scored against, of ``--gold``: the validation split of any layout.

    ``names`` maps our names of columns to the data's where they differ. Raises :class:`DataError` for bad rows: leaving
    them out would change the score.
    """
    try:
        return load_examples(path, ["validation"], column_names=names, question_types=question_types)["validation"]
    except DataError as error:
        raise DataError(error.problems, f"Correct --gold {path}: scores are of all its questions.") from None


def example_features(question_types: bool = False) -> Features:
    """Return the columns of every examples table and their types, on request with ``question_type``."""
    from datasets import Features, List, Value

    text = Value("string")
    answers = {"text": List(text), "answer_start": List(Value("int64"))}
    columns = {"id": text, "title": text, "question": text, "context": text, "answers": answers, "document_id": text}
    return Features(columns | ({"question_type": text} if question_types else {}))


def hash_examples(examples: Dataset) -> str:
    """Return a hash of the contents of ``examples``, equal wherever and however they were loaded."""
    return hash_rows(examples.with_format(None).iter(batch_size=_HASHED_AT_ONCE))


def _find_sources(places: Sequence[str], splits: Sequence[str], bare: Collection[str]) -> dict[str, Source]:
    """Return where each wanted split comes from, before any row is read; :class:`UserError` if one is nowhere.

    Of the splits in ``bare`` ids and questions are enough.
    """
    found = first_there(places)
    if found != places[0]:
        logger.info("%s: found as %s", places[0], found)
    path = Path(found)
    if path.is_file():
        return _serve_alone(path, splits, lambda split: _file_source(path, split in bare))
    if not path.is_dir():
        return _hub_sources(places, splits, bare)
    if (queries := queries_of(path)) is not None:
        return _beir_sources(queries, splits)
    parts = {path / "train_dataset": ("train", "validation"), path / "test_dataset": ("test",)}
    if any(folder.is_dir() for folder in parts):
        sources: dict[str, Source] = {}
        for folder, held in parts.items():
            if wanted := [split for split in splits if split in held]:
                sources |= _saved_sources(folder, wanted, bare)
        return {split: sources[split] for split in splits}
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _saved_sources(path, splits, bare)
    if any(suffix_of(inside) in _FILES for inside in path.iterdir()):
        return {split: _file_source(_file_of_split(path, split), split in bare) for split in splits}
    held_names = sorted(inside.name for inside in path.iterdir())
    raise UserError(f"{path} holds no data set ({_list(held_names)}); {_LAYOUTS}")


def _serve_alone(path: Path, splits: Sequence[str], source_of: Callable[[str], Source]) -> dict[str, Source]:
    """Let one file or table serve every wanted split, unless its name says that it is another than one of several."""
    named = _split_named_by(path.stem)
    if named and len(splits) > 1:
        for split in splits:
            if split != named:
                raise _missing(path, split, [named])
    return {split: source_of(split) for split in splits}


def _split_named_by(name: str) -> str | None:
    named = {split for word, split in _SPLIT_OF_WORD.items() if word in name.lower()}
    return named.pop() if len(named) == 1 else None


def _missing(where: Path | str, split: str, found: Sequence[str]) -> UserError:
    return UserError(f"{where} has no {split} split ({_list(found)}); {_LAYOUTS}")


def _list(found: Sequence[str]) -> str:
    shown = [*found[:8], "..."] if len(found) > 8 else found
    return f"found {', '.join(shown)}" if found else "found nothing"


# -------------------------------------------------------------------------------------- folders of save_to_disk, hub


def _saved_sources(path: Path, splits: Sequence[str], bare: Collection[str]) -> dict[str, Source]:
    def source(folder: Path, split: str) -> Source:
        return Source(str(folder), partial(_saved_rows, folder, split in bare))

    if (path / "dataset_dict.json").is_file():
        content = read_users_json(path / "dataset_dict.json")
        names = content.get("splits") if isinstance(content, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            reason = 'is not what save_to_disk writes: expected {"splits": [names]}'
            raise DataError([Problem(str(path / "dataset_dict.json"), "", reason)])
        return {split: source(path / _name_of_split(split, names, path), split) for split in splits}
    if (path / "state.json").is_file():
        return _serve_alone(path, splits, partial(source, path))
    raise _missing(path, splits[0], [])


def _name_of_split(split: str, names: Sequence[str], where: Path | str) -> str:
    """Return the name under which a DatasetDict holds ``split``: the competition's test set calls itself validation."""
    name = "validation" if split == "test" and "test" not in names else split
    if name not in names:
        raise _missing(where, split, list(names))
    return name


def _hub_sources(places: Sequence[str], splits: Sequence[str], bare: Collection[str]) -> dict[str, Source]:
    dataset_path, elsewhere = places[0], "".join(f", nor {place}" for place in places[1:])
    match = _HUB_NAME.fullmatch(dataset_path)
    if not match or suffix_of(dataset_path) in _FILES:
        raise UserError(f"{dataset_path} does not exist{elsewhere}; {_LAYOUTS}")
    import datasets

    try:
        saved = datasets.load_dataset(match["name"], match["config"])
    except Exception as error:  # whatever the hub's client raises
        raise UserError(
            f"{dataset_path} does not exist here{elsewhere}, and the hub does not give it ({_one_line(error)}); "
            f"{_LAYOUTS}"
        ) from None

    def source(split: str) -> Source:
        name = _name_of_split(split, list(saved), dataset_path)
        file = f"{dataset_path} {name}"
        return Source(file, partial(_dataset_rows, file, split in bare, saved[name]))

    return {split: source(split) for split in splits}


def _saved_rows(folder: Path, bare: bool, ours: Mapping[str, str]) -> Iterator[PlacedRow]:
    from datasets import load_from_disk

    try:
        dataset = load_from_disk(str(folder))
        dataset.data.validate(full=True)  # nothing else finds damage in what is mapped into memory
    except Exception as error:  # whatever the reader of damaged files raises
        raise DataError([Problem(str(folder), "", f"cannot be read: {_one_line(error)}")]) from None
    yield from _dataset_rows(str(folder), bare, dataset, ours)


def _dataset_rows(file: str, bare: bool, dataset: Dataset, ours: Mapping[str, str]) -> Iterator[PlacedRow]:
    """Yield the rows of a table once its columns have proved to be there and of the right type."""
    dataset = dataset.remove_columns([name for name in ours.values() if name in dataset.features and name not in ours])
    dataset = dataset.rename_columns({theirs: name for theirs, name in ours.items() if theirs in dataset.features})
    held = dataset.features
    problems = list(_missing_columns(file, list(held), bare))
    columns = [name for name in held if name in _COLUMNS]
    for name in columns:
        dtype = getattr(held[name], "dtype", "nested")
        if dataset.data.column(name).null_count == len(dataset.data):
            dtype = "null"  # whatever type nothing was given
        if not re.fullmatch(_COLUMNS[name].dtypes, dtype):
            found = repr(held[name]) if dtype == "nested" else dtype
            problems.append(Problem(file, f"column {name}", f"holds {found}, not {_COLUMNS[name].meant}"))
    if problems:
        raise DataError(problems)
    # Other columns cost time, and formats such as torch would change the types.
    read = [*columns, *(name for name in held if name == "question_type")]
    for index, row in enumerate(dataset.with_format(None).select_columns(read)):
        yield f"row {index}", row


# ------------------------------------------------------------------------------------------------ JSON and tables


def _beir_sources(queries: Path, splits: Sequence[str]) -> dict[str, Source]:
    files = qrels_of(queries.parent)
    for split in splits:
        if split not in files:
            raise _missing(queries.parent, split, list(files))
    return {split: Source(str(queries), partial(beir_rows, queries, files[split])) for split in splits}


def _file_source(path: Path, bare: bool) -> Source:
    return Source(str(path), partial(_table_rows if suffix_of(path) in TABLES else _json_rows, path, bare))


def _file_of_split(folder: Path, split: str) -> Path:
    """Return the file that is ``split``: by its exact name, else the only one with such a word in its name."""
    inside = sorted(path for path in folder.iterdir() if suffix_of(path) in _FILES and path.name not in CORPUS_NAMES)
    exact = [path for path in inside if path.name.partition(".")[0] in _EXACT_NAMES[split]]
    fitting = exact or [path for path in inside if _split_named_by(path.stem) == split]
    if not fitting:
        raise _missing(folder, split, [path.name for path in inside])
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        raise UserError(
            f"{folder} has several files for the {split} split ({names}); keep one, or name the file itself"
        )
    return fitting[0]


def _table_rows(path: Path, bare: bool, ours: Mapping[str, str]) -> Iterator[PlacedRow]:
    if suffix_of(path) == ".parquet":
        from datasets import Dataset
        from datasets.table import InMemoryTable

        yield from _dataset_rows(str(path), bare, Dataset(InMemoryTable(read_parquet(path, ours))), {})
        return
    table = read_table(path, ours)
    if table.columns is not None and (problems := list(_missing_columns(str(path), table.columns, bare))):
        raise DataError(problems)
    yield from table.rows


def _missing_columns(file: str, held: Sequence[str], bare: bool) -> Iterator[Problem]:
    """Yield the columns that none of ``held`` gives: of them ids and questions are enough for a ``bare`` split."""
    needed: dict[str, Sequence[str]] = {"id": ID_NAMES, "question": ["question"]}
    if not bare:
        needed |= {"context": ["context"], "answers": ANSWER_NAMES}
    for name, names in needed.items():
        if not set(names) & set(held):
            reason = f"is missing ({_list(held)}); if another one is meant, add --column {name}=ITS_NAME"
            yield Problem(file, f"column {name}", reason)


def _json_rows(path: Path, bare: bool, ours: Mapping[str, str]) -> Iterator[PlacedRow]:
    """Yield the questions of SQuAD-format JSON, or the rows of a list; :class:`DataError` if it is neither."""
    content = read_users_json(path)
    if isinstance(content, list):
        if content and isinstance(content[0], dict) and "positive_ctxs" in content[0]:
            reason = "is DPR JSON, whose questions have no contexts: train_dpr.py and train_reranker.py read it"
            raise DataError([Problem(str(path), "", reason)])
        yield from ((f"[{index}]", named_row(row, ours)) for index, row in enumerate(content))
        return
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        found = f"an object ({_list(list(content))})" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise DataError(
            [Problem(str(path), "", f'is not SQuAD format: expected an object with a list "data", not {found}')]
        )
    if articles and all(isinstance(row, dict) and "paragraphs" not in row and "question" in row for row in articles):
        yield from ((f"data[{index}]", named_row(row, ours)) for index, row in enumerate(articles))
        return
    yield from _questions(articles, "data", ("paragraphs", "qas"), {}, ours)


def _questions(
    items: list[Any], place: str, levels: Sequence[str], outer: dict[str, Any], ours: Mapping[str, str]
) -> Iterator[PlacedRow]:
    """Walk articles, their paragraphs and their questions; a question gets title and context from around it."""
    for index, item in enumerate(items):
        here = f"{place}[{index}]"
        if not isinstance(item, dict):
            yield here, Fault("is not an object")
            continue
        item = {ours.get(name, name): value for name, value in item.items()}
        if not levels:
            yield here, outer | item
        elif not isinstance(item.get(levels[0]), list):
            yield here, Fault(f'has no list "{levels[0]}"')
        else:
            inherited = outer | {name: item[name] for name in _OF_ALL_QUESTIONS if name in item}
            yield from _questions(item[levels[0]], f"{here}.{levels[0]}", levels[1:], inherited, ours)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""The house rules that a program can check: arrows point one way, imports are silent, nothing runs foreign code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A folder or file of the library may import from itself and from these.
ARROWS: dict[str, set[str]] = {
    "runtime": set(),
    "loading": {"runtime"},
    "models": {"runtime"},
    "reading": {"runtime", "models", "loading"},
    "retrieval": {"runtime", "models", "loading"},
    "training": {"runtime", "models", "loading"},
    "arguments": {"runtime", "models", "loading", "reading", "retrieval", "training"},
    "processor": {"arguments", "models", "reading", "loading", "retrieval", "training", "runtime"},
    "pipeline": {"arguments", "models", "reading", "loading", "retrieval", "training", "runtime", "processor"},
    "trainer_qa": {"arguments", "models", "reading", "loading", "retrieval", "training", "runtime", "processor"},
}
FOLDERS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
LIBRARY = sorted(path for name in ARROWS for path in (*ROOT.glob(f"{name}.py"), *ROOT.glob(f"{name}/**/*.py")))
COMMANDS = sorted({*ROOT.glob("*.py"), *ROOT.glob("tools/[!_]*.py")} - set(LIBRARY))
PROGRAMS = sorted(path for folder in ("script", "benchmarks") for path in ROOT.glob(f"{folder}/*.py"))
TESTS = sorted(ROOT.glob("tests/**/*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in (*LIBRARY, *COMMANDS, *PROGRAMS, *TESTS)}
TREES[ROOT / "tools/__init__.py"] = ast.parse((ROOT / "tools/__init__.py").read_text(encoding="utf-8"))

# What of the library has no test file of its name, and the files that test it instead.
TESTED_ELSEWHERE: dict[str, tuple[str, ...]] = {
    # every flag is held to the same rules
    **{f"{folder}/arguments": ("test_arguments",) for folder in sorted(FOLDERS & ARROWS.keys())},
    # every head is held to the same contract
    **{f"models/heads/{name}": ("models/test_heads",) for name in ("attention", "convolution", "parts", "recurrent")},
    # a server is started and asked by the retriever that needs it
    "retrieval/elastic_server": ("retrieval/test_elastic",),
    "retrieval/milvus_server": ("retrieval/test_milvus",),
    # what is right and wrong for a question shows in what is drawn, mined and read
    "loading/retrieval_examples": ("retrieval/test_training", "retrieval/test_mining", "loading/test_dpr_json"),
    # one step of a command, seen in what the command writes
    "retrieval/evaluation": ("test_train_dpr",),
    "retrieval/finding": ("test_retrieve", "test_inference"),
    "runtime/timing": ("test_inference",),
    "retrieval/training_data": ("test_train_dpr",),
    "training/trainer_callbacks": ("test_train_mrc_v2", "test_trainer_qa", "test_interrupted_runs"),
    # a run that is asked to stop, or whose model is broken, is a whole one
    "runtime/stopping": ("test_interrupted_runs",),
    # lines and bars share a terminal
}

# What an installation may lack, and what would slow down or talk at every start.
OPTIONAL = {
    "wandb", "kiwipiepy", "rank_bm25", "elasticsearch", "pymilvus", "faiss", "starlette", "uvicorn", "optuna",
    "sentence_transformers",
    "openvino", "nncf",
}  # fmt: skip
PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def _found(paths: list[Path], faults_of: Callable[[ast.Module], Iterator[ast.AST]]) -> list[str]:
    """Every fault as ``file:line: code``."""
    return [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {ast.unparse(node)[:80]}"
        for path in paths
        for node in faults_of(TREES[path])
    ]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _words(path: Path) -> list[str]:
    """What follows ``python`` to run a command."""
    return [path.name] if path.parent == ROOT else ["-m", _module(path)]


def _roots_imported(node: ast.AST) -> set[str]:
    """The top-level packages that an import statement names; empty for other nodes."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {node.module.split(".")[0]} if isinstance(node, ast.ImportFrom) and node.module else set()


def _calls(tree: ast.Module, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node


# ---------------------------------------------------------------------------------------------------------- structure


def test_every_folder_of_the_library_has_its_place_among_the_arrows() -> None:
    assert {*ARROWS, "tools"} >= FOLDERS >= {"loading", "models", "reading", "retrieval", "runtime", "training"}


def test_arrows_point_one_way_and_never_to_a_command() -> None:
    ours = {_module(path).split(".")[0] for path in (*LIBRARY, *COMMANDS, *PROGRAMS)} | {"script", "benchmarks"}
    for path in LIBRARY:
        mine = path.relative_to(ROOT).with_suffix("").parts[0]
        used = {name for node in ast.walk(TREES[path]) for name in _roots_imported(node)} & ours
        assert used <= ARROWS[mine] | {mine}, path


def test_every_command_has_a_runnable_example_parse_and_main() -> None:
    assert {path.stem for path in COMMANDS} >= {"train_mrc", "inference", "score", "ensemble"}
    for path in COMMANDS:
        tree = TREES[path]
        assert f"\n    python {' '.join(_words(path))} " in (ast.get_docstring(tree) or ""), path
        functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
        for name in ("parse", "main"):
            assert [argument.arg for argument in functions[name].args] == ["argv"], path
            assert [ast.unparse(default) for default in functions[name].defaults] == ["None"], path
        assert ast.unparse(tree.body[-1]) == "if __name__ == '__main__':\n    run_command(main)", path


def test_every_file_and_every_public_name_of_the_library_says_what_it_is() -> None:
    assert [path for path in TREES if not ast.get_docstring(TREES[path]) and path not in TESTS] == []

    def undocumented(tree: ast.Module) -> Iterator[ast.AST]:
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
        return (node for node in public if not ast.get_docstring(node))

    assert _found(LIBRARY, undocumented) == []


def test_every_module_of_the_library_is_tested_in_the_file_of_its_name() -> None:
    modules = {path.relative_to(ROOT).with_suffix("") for path in LIBRARY if path.name != "__init__.py"}
    tests = {path.relative_to(ROOT / "tests").with_suffix("") for path in TESTS}
    untested = {str(module) for module in modules if module.with_name(f"test_{module.name}") not in tests}
    assert untested == set(TESTED_ELSEWHERE)
    assert {file for files in TESTED_ELSEWHERE.values() for file in files} <= set(map(str, tests))


# ------------------------------------------------------------------------------------------------------------- imports


def test_importing_everything_is_silent_and_offline_and_loads_no_optional_package() -> None:
    code = f"""
import socket, sys

def refuse(*_, **__):
    raise AssertionError("the network was asked for")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
for name in {[_module(path) for path in (*LIBRARY, *COMMANDS)]}:
    __import__(name)
assert not {OPTIONAL} & set(sys.modules), {OPTIONAL} & set(sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "WANDB_"))}
    environment["PYTHONPATH"] = str(ROOT)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_flags_are_read_before_torch_is_imported() -> None:
    """Nor is what takes as long: --help and a mistake are answered at once."""
    slow = {"torch", "transformers", "datasets", "pandas", "accelerate", "sklearn", "scipy"}
    code = f"import sys, arguments\nfound = {slow} & set(sys.modules)\nassert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    for path in COMMANDS:
        result = subprocess.run(
            [sys.executable, "-X", "importtime", *_words(path), "--help"], capture_output=True, text=True, cwd=ROOT
        )
        imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines() if "|" in line}
        assert (result.returncode, imported & slow) == (0, set()), path.name
        assert result.stdout.startswith(f"usage: python {' '.join(_words(path))} ")


def test_optional_packages_are_imported_where_they_are_used() -> None:
    def at_the_top(tree: ast.Module) -> Iterator[ast.AST]:
        return (node for node in tree.body if _roots_imported(node) & OPTIONAL)

    assert _found([*LIBRARY, *COMMANDS], at_the_top) == []


# -------------------------------------------------------------------------------------------------------------- safety


def test_nothing_is_pickled() -> None:
    def pickling(tree: ast.Module) -> Iterator[ast.AST]:
        yield from (node for node in ast.walk(tree) if _roots_imported(node) & PICKLING)
        yield from _calls(tree, {"torch.load", "torch.save"})
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                yield node

    assert _found(list(TREES), pickling) == []


def test_code_that_comes_with_a_model_is_never_trusted() -> None:
    """Only ``trust_remote_code=False`` may be said; where nothing is, Transformers asks whether to run the code."""

    def trusting(tree: ast.Module) -> Iterator[ast.AST]:
        for node in ast.walk(tree):
            told: list[tuple[str | None, ast.expr]] = []
            if isinstance(node, ast.Call):
                told = [(keyword.arg, keyword.value) for keyword in node.keywords]
            elif isinstance(node, ast.Dict):
                told = [(key.value, node.values[i]) for i, key in enumerate(node.keys) if isinstance(key, ast.Constant)]
            if any(name == "trust_remote_code" and ast.unparse(value) != "False" for name, value in told):
                yield node

    assert _found(list(TREES), trusting) == []


def test_models_come_in_by_one_door_and_data_sets_by_another() -> None:
    """Which say what is never run; ``datasets`` has none of it left since its version 4."""
    doors = {
        "from_pretrained": "models/loading.py",
        "load_dataset": "loading/examples.py",
        "load_from_disk": "loading/examples.py",
        "SentenceTransformer": "benchmarks/dense.py",  # what encoding is measured against
    }

    def loading(tree: ast.Module) -> Iterator[ast.AST]:
        for node in ast.walk(tree):
            name = getattr(node, "attr", getattr(node, "id", None))
            if name in (*doors, "from_config", "SentenceTransformer"):
                yield node

    for path in (*LIBRARY, *COMMANDS, *PROGRAMS):
        for node in loading(TREES[path]):
            assert doors.get(ast.unparse(node).split(".")[-1]) == str(path.relative_to(ROOT)), (path, node.lineno)
    calls = [call for call in ast.walk(TREES[ROOT / "models/loading.py"]) if isinstance(call, ast.Call)]
    through = [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith(".from_pretrained")]
    assert through and all("trust_remote_code=False" in call or "**options" in call for call in through)
    assert '"trust_remote_code": False' in (ROOT / "models/loading.py").read_text()  # in these options


def test_corpora_come_in_as_the_flags_of_their_columns_cleaning_and_chunks_say() -> None:
    """Through ``retrieval.finding.load_passages``; tools.check looks at the file as it is."""
    paths = [path for path in (*LIBRARY, *COMMANDS, *PROGRAMS) if path.parent.name != "benchmarks"]
    callers = {line.split(":")[0] for line in _found(paths, lambda tree: _calls(tree, {"load_corpus"}))}
    assert callers == {"retrieval/finding.py", "tools/check.py"}


def test_no_text_is_run_and_no_environment_variable_written() -> None:
    def unsafe(tree: ast.Module) -> Iterator[ast.AST]:
        yield from _calls(tree, {"eval", "exec", "os.putenv", "os.environ.update", "os.environ.setdefault"})
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(ast.unparse(t).startswith("os.environ") for t in node.targets):
                yield node

    assert _found([*LIBRARY, *COMMANDS], unsafe) == []


def test_the_library_prints_nothing() -> None:
    printing = _found(LIBRARY, lambda tree: _calls(tree, {"print"}))
    assert {line.split(":")[0] for line in printing} <= {"runtime/errors.py"}  # the last words of a command


def test_no_path_of_some_machine_is_written_down() -> None:
    path_of_a_machine = re.compile(r"(?<![\w./~$:-])/(opt|home|root|mnt|data|usr(?!/bin/env)|var|work|Users)/\w")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in TREES
        for line in path.read_text(encoding="utf-8").splitlines()
        if path_of_a_machine.search(line) and path.name != "test_record.py"  # sees that such a path is not recorded
    ]
    assert found == []

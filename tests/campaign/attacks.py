"""Commands that are killed, signalled, refused room or folders, and started twice: what becomes of their files.

bench = Bench(folder)
verdict = ATTACKS["kill at a file operation"](bench, bench.jobs["train_mrc"], random.Random(0))
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import preloaded  # noqa: F401 (forked processes have it)
from campaign.processes import Ending, Job, Operations, Running
from campaign.trees import contents, difference, half
from tiny_data import write_dataset
from tiny_models import tiny_bert, tiny_reader, tiny_reranker, tiny_tokenizer

import average
import inference
import retrieve
import score
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from tools import ensemble, report

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
_PATIENCE = 90  # seconds, of what takes two
_REFUSALS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE)
_STEPS = "--num_train_epochs 2 --eval_steps 2 --logging_steps 1 --learning_rate 1e-3 --per_device_train_batch_size 4"
_LENGTHS = "--max_seq_len 128 --stride_len 16 --postprocess edges"
_READER = f"--model ../encoder {_LENGTHS} --cache_dir cache --do_eval {_STEPS}"
_SEARCH = "--dataset_path ../data --precision fp32 --index_dir index --analyzer bigram"
_FOUND = "--dataset_path ../data --index_dir index --output_dir run --split train"
_RUN = "--dataset_path ../data --precision fp32 --output_dir run"
_DPR = "--dpr_train_batch 4 --dpr_epochs 2 --dpr_eval_steps 2 --passage_max_len 64 --logging_steps 1"
_GOLD, _FAST = "--gold ../data/validation.json", "--bootstrap_samples 50"
_GO_ON = "--resume_from_checkpoint true"

JOBS = [
    Job("train_mrc", train_mrc.main, f"{_RUN} {_READER} --save_total_limit 2", _GO_ON),
    Job(
        "train_mrc_v2", train_mrc_v2.main,
        f"{_RUN} {_READER} --do_train --save_steps 2 --save_total_limit 2", _GO_ON,
    ),
    Job("train_dpr", train_dpr.main, f"{_SEARCH} --dpr_model ../encoder --retriever_dir run {_DPR}", _GO_ON),
    Job(
        "train_reranker", train_reranker.main,
        f"{_SEARCH} --output_dir run --reranker_model ../encoder --reranker_max_len 100 --do_eval --rerank_depth 3 "
        f"--hard_negatives 1 {_STEPS}", _GO_ON,
    ),
    Job("retrieve", retrieve.main, f"{_FOUND} --analyzer bigram --write csv"),
    Job(
        "retrieve, dense", retrieve.main,
        f"{_FOUND} --write parquet "
        "--retriever_type DenseRetrieval --retriever_dir ../encoder --passage_max_len 64",
    ),
    Job(
        "inference", inference.main,
        f"--do_predict --model ../reader --output_dir run {_LENGTHS} --top_k_retrieval 3 {_SEARCH}",
    ),
    Job("average", average.main, "../reader ../reader-2 --output_dir run"),
    Job("ensemble", ensemble.main, f"--members ../member ../member-2 --output_dir run {_GOLD}"),
    Job("score", score.main, f"--predictions ../member/predictions.json --errors run/errors.csv {_GOLD} {_FAST}"),
    Job("report", report.main, f"../member ../member-2 --output run/report.html {_GOLD} {_FAST}"),
]  # fmt: skip


class Verdict(NamedTuple):
    """What became of an attack, ``right`` or ``sentence`` if nothing is wrong, and what was said or found."""

    outcome: str
    said: str = ""


class _Bad(Exception):
    def __init__(self, outcome: str, said: str) -> None:
        super().__init__(outcome)
        self.verdict = Verdict(outcome, said)


class Reference(NamedTuple):
    """A run that nothing disturbed: what it wrote, in how many file operations and how many seconds."""

    contents: dict[str, Any]
    operations: int
    seconds: float
    size: int


class Bench:
    """A folder of materials in which jobs run, each next to nothing but the materials.

    Nothing is computed in this process, from which the others are forked: threads would not come with them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.place = self.folder / "attacked"
        self.can_mount = _leave_mounts()
        self.references: dict[str, Reference] = {}
        make = Job("materials", partial(_make_materials, self.folder), "")
        _done(Running(make, self.folder / "making").wait(_PATIENCE))
        for name in ("member", "member-2"):
            model = name.replace("member", "reader")
            words = f"--do_eval --model ../{model} --output_dir ../{name} {_LENGTHS}"
            job = Job(name, inference.main, f"{words} --dataset_path ../data --retriever_type none")
            _done(Running(job, self.folder / "making").wait(_PATIENCE))

    def reference(self, job: Job) -> Reference:
        """Return the undisturbed run of ``job``."""
        if job.name not in self.references:
            place = self.folder / "undisturbed"
            shutil.rmtree(place, ignore_errors=True)
            start, running = time.monotonic(), Running(job, place)
            _done(running.wait(_PATIENCE))
            size = sum(path.stat().st_size for path in place.rglob("*"))
            found = contents(place)
            self.references[job.name] = Reference(found, running.operations, time.monotonic() - start, size)
        return self.references[job.name]

    def start(self, job: Job, hook: Callable[[], Operations] | None = None, again: bool = False) -> Running:
        """Start ``job`` in the attacked folder; ``again`` as it is to be started after it was disturbed."""
        return Running(job, self.place, job.resume if again else "", hook)

    def check_whole(self, job: Job) -> None:
        """Raise where a file of the attacked folder has its last name and is not whole."""
        if fault := half(self.place, self.reference(job).contents):
            raise _Bad("half", fault)

    def check_same(self, job: Job, place: Path | None = None) -> None:
        """Raise where what is in the attacked folder is not what an undisturbed run leaves."""
        self.check_whole(job)
        if fault := difference(contents(place or self.place), self.reference(job).contents):
            raise _Bad("different", fault)

    def check_again(self, job: Job) -> Verdict:
        """Start the disturbed job again: right if all is then as if nothing had disturbed it."""
        ending = self.start(job, again=True).wait(_PATIENCE)
        if ending.outcome not in ("ended", "sentence"):
            raise _Bad(ending.outcome, ending.said)
        if ending.outcome == "sentence" and difference(contents(self.place), self.reference(job).contents):
            raise _Bad("refused", ending.said)  # otherwise it says that all is there
        self.check_same(job)
        return Verdict("right")


def _make_materials(folder: Path, words: Any) -> None:
    (folder / "data").mkdir()
    write_dataset(folder / "data")
    tokenizer = tiny_tokenizer()
    models = {
        "encoder": tiny_bert(tokenizer),
        "reader": tiny_reader(tokenizer, 1),
        "reader-2": tiny_reader(tokenizer, 2),
        "reranker": tiny_reranker(tokenizer),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def _done(ending: Ending) -> None:
    if ending.outcome != "ended":
        raise RuntimeError(f"what nothing disturbed ended with {ending.status}: {ending.said}")


def _leave_mounts() -> bool:
    """Let what this process mounts from now on be seen by it and its children alone; return whether it can mount."""
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(_NEW_MOUNTS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True).returncode == 0


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def _mounted(place: Path, *words: str) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    _mount(*words, str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


# --------------------------------------------------------------------------------------------------------- the attacks


def _kill(path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_operation(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Kill it at one of its file operations, at times again at one after that, and let it go on."""
    again = False
    while True:
        at = rng.randint(1, bench.reference(job).operations)
        ending = bench.start(job, lambda at=at: Operations(at, _kill), again).wait(_PATIENCE)
        if ending.outcome not in ("killed", "ended"):
            return Verdict("refused" if ending.outcome == "sentence" else ending.outcome, ending.said)
        bench.check_whole(job)
        again = True
        if rng.random() < 0.8:
            return bench.check_again(job)


def kill_at_some_time(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Kill it at a random time, and let it go on."""
    running = bench.start(job)
    running.is_running(rng.uniform(0, bench.reference(job).seconds))
    running.send(signal.SIGKILL)
    ending = running.wait(_PATIENCE)
    if ending.outcome not in ("killed", "ended"):
        return Verdict(ending.outcome, ending.said)
    bench.check_whole(job)
    return bench.check_again(job)


def send_signal(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Send SIGINT, SIGTERM or SIGHUP, at times twice, at a file operation, and let it go on."""
    signum = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    at, times = rng.randint(1, bench.reference(job).operations), rng.choice([1, 1, 2])

    def act(path: str) -> None:
        for _ in range(times):
            os.kill(os.getpid(), signum)

    ending = bench.start(job, lambda: Operations(at, act)).wait(_PATIENCE)
    expected = -signum if signum == signal.SIGHUP else 128 + signum
    if ending.outcome == "traceback" or ending.status not in (expected, 0):
        return Verdict("hang" if ending.status is None else "traceback", f"{ending.status}: {ending.said}")
    bench.check_whole(job)
    if ending.status == 0:  # it came too late
        bench.check_same(job)
        return Verdict("right")
    if signum != signal.SIGHUP and not ending.said.strip():
        return Verdict("traceback", "the signal ended it without a word")
    return bench.check_again(job)


def stop_and_continue(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Stop it as Ctrl-Z does, and let it continue."""
    running = bench.start(job)
    running.is_running(rng.uniform(0, bench.reference(job).seconds))
    for signum in (signal.SIGTSTP, signal.SIGCONT):
        running.send(signum)
        running.is_running(0.05)
    return _undisturbed(bench, job, running.wait(_PATIENCE))


def _undisturbed(bench: Bench, job: Job, ending: Ending) -> Verdict:
    if ending.outcome != "ended":
        return Verdict("refused" if ending.outcome == "sentence" else ending.outcome, ending.said)
    bench.check_same(job)
    return Verdict("right")


def _survive(bench: Bench, job: Job, ending: Ending) -> bool:
    """Whether a job that the system refused something came to its end all the same; raise unless it says what."""
    if ending.outcome not in ("ended", "sentence"):
        raise _Bad(ending.outcome, ending.said)
    bench.check_whole(job)
    if ending.outcome == "ended":
        bench.check_same(job)
    return ending.outcome == "ended"


def fill_disk(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Give it a disk that gets full, then room to go on."""
    size = int(rng.uniform(0, 1) * bench.reference(job).size)
    with _mounted(bench.place, "-t", "tmpfs", "-o", f"size={size + 8192}", "tmpfs"):
        if _survive(bench, job, bench.start(job).wait(_PATIENCE)):
            return Verdict("right")
        _mount("-o", "remount,size=1g", str(bench.place))
        return bench.check_again(job)


def refuse_operation(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Let the system refuse a file operation and all after it, then let it go on."""
    at, number = rng.randint(1, bench.reference(job).operations), rng.choice(_REFUSALS)

    def refuse(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    ending = bench.start(job, lambda: Operations(at, refuse, lasting=True)).wait(_PATIENCE)
    if ending.outcome not in ("ended", "sentence"):
        return Verdict(ending.outcome, f"{os.strerror(number)} at operation {at}: {ending.said}")
    return Verdict("right") if _survive(bench, job, ending) else bench.check_again(job)


def forbid_writing(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Let one of its folders, or the one around them, be there to read only; then let it write."""
    folders = sorted({name.partition("/")[0] for name in bench.reference(job).contents})
    folder = bench.place / rng.choice(["", *folders])
    folder.mkdir(parents=True)
    with _mounted(folder, "--bind", str(folder)):
        _mount("-o", "remount,bind,ro", str(folder))
        ending = bench.start(job).wait(_PATIENCE)
    return Verdict("right") if _survive(bench, job, ending) else bench.check_again(job)


def start_twice(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Start it twice in the same folder: one comes to its end, the other too, or says that the folder is taken."""
    first = bench.start(job)
    first.is_running(rng.uniform(0, bench.reference(job).seconds))
    second = Running(Job(job.name, job.main, job.words), bench.place)
    endings = [running.wait(_PATIENCE) for running in (first, second)]
    for ending in endings:
        if ending.outcome not in ("ended", "sentence"):
            return Verdict(ending.outcome, ending.said)
    if all(ending.outcome == "sentence" for ending in endings):
        return Verdict("refused", "both: " + " ".join(ending.said for ending in endings))
    bench.check_same(job)
    return Verdict("sentence" if any(ending.outcome == "sentence" for ending in endings) else "right")


def share_folders(bench: Bench, job: Job, rng: random.Random) -> Verdict:
    """Start it twice with the same index and cache, and folders of its own for the rest: both come to their ends."""
    places = [bench.place / name for name in ("one", "other")]
    for place in places:
        place.mkdir(parents=True)
        for shared in ("index", "cache"):
            (bench.place / shared).mkdir(exist_ok=True)
            (place / shared).symlink_to(f"../{shared}")
    _link_materials(bench)
    runs = [Running(job, places[0])]
    runs[0].is_running(rng.choice([0, rng.uniform(0, bench.reference(job).seconds)]))
    runs.append(Running(job, places[1]))
    for ending in [running.wait(_PATIENCE) for running in runs]:
        if ending.outcome != "ended":
            return Verdict("refused" if ending.outcome == "sentence" else ending.outcome, ending.said)
    for place in places:
        expected, found = bench.reference(job).contents, contents(place) | _shared(bench)
        if fault := difference(found, expected):
            return Verdict("different", f"{place.name}: {fault}")
    return Verdict("right")


def _link_materials(bench: Bench) -> None:
    for material in ("data", "encoder", "reader", "reader-2", "reranker", "member", "member-2"):
        (bench.place / material).symlink_to(f"../{material}")


def _shared(bench: Bench) -> dict[str, Any]:
    found = {name: contents(bench.place / name) for name in ("index", "cache")}
    return {f"{folder}/{name}": content for folder, files in found.items() for name, content in files.items()}


Attack = Callable[[Bench, Job, random.Random], Verdict]
ATTACKS: dict[str, Attack] = {
    "kill at a file operation": kill_at_operation,
    "kill at some time": kill_at_some_time,
    "signal": send_signal,
    "stop and continue": stop_and_continue,
    "full disk": fill_disk,
    "refused file operation": refuse_operation,
    "read-only folder": forbid_writing,
    "started twice": start_twice,
    "index and cache shared": share_folders,
}
NEED_MOUNTS = ("full disk", "read-only folder")  # which only root has


def attack(bench: Bench, name: str, job: Job, rng: random.Random) -> Verdict:
    """Return what becomes of one attack on ``job``, which begins in an empty folder."""
    bench.reference(job)
    shutil.rmtree(bench.place, ignore_errors=True)
    try:
        return ATTACKS[name](bench, job, rng)
    except _Bad as bad:
        return bad.verdict

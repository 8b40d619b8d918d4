"""Attack the commands and damage their files, for some minutes, and say what became of it.

    python -m tests.campaign --seed 1 --minutes 10

Commands are killed at random times and at every kind of file operation, signalled, stopped, refused room, files and
folders, and started twice, and what they write is then compared with what an undisturbed run writes; files of every
kind that is read are damaged and read. What is neither right nor one clear sentence is kept in --keep with the line
that repeats it, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before torch is imported
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "offline"}
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

from campaign.attacks import JOBS, NEED_MOUNTS, Bench, Verdict, attack
from campaign.mutations import MutationWorker

OUTCOMES = ("right", "sentence", "refused", "traceback", "different", "hang", "half")
_ROUND = {
    "kill at a file operation": 12,
    "kill at some time": 3,
    "signal": 3,
    "stop and continue": 1,
    "full disk": 3,
    "refused file operation": 3,
    "read-only folder": 2,
    "started twice": 2,
    "index and cache shared": 1,
    "damaged file": 120,
}


class Attacked(NamedTuple):
    """What was attacked, as ``number`` of its kind with this seed, and what became of it."""

    kind: str
    number: int
    target: str
    verdict: Verdict


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="draws the attacks")
    parser.add_argument("--minutes", type=float, default=10, help="no round of attacks is begun after so many")
    parser.add_argument("--rounds", type=int, default=sys.maxsize, help="at most so many rounds")
    parser.add_argument("--only", metavar="KIND[:NUMBER]", help="attacks of one kind, or one of them")
    parser.add_argument("--keep", type=Path, default=Path("outputs/campaign"), help="where bad outcomes are kept")
    args = parser.parse_args(argv)
    if args.only and args.only.partition(":")[0] not in _ROUND:
        parser.error(f"--only is none of {', '.join(_ROUND)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; return 1 if anything was neither right nor one clear sentence."""
    args = parse(argv)
    found: list[Attacked] = []
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as folder:
        for attacked in campaign(args, Path(folder)):
            found.append(attacked)
            if attacked.verdict.outcome not in OUTCOMES[:2]:
                keep(attacked, args, Path(folder))
    print(table(found))
    return int(any(attacked.verdict.outcome not in OUTCOMES[:2] for attacked in found))


def campaign(args: argparse.Namespace, folder: Path) -> Iterator[Attacked]:
    """Yield the attacks of round after round, as many as there is time for."""
    end = time.monotonic() + 60 * args.minutes
    bench = Bench(folder)
    worker = MutationWorker(folder)
    only, _, number = (args.only or "").partition(":")
    for turn in range(args.rounds):
        if turn and (number or time.monotonic() > end):
            break
        for kind, times in _ROUND.items():
            if (only and kind != only) or (kind in NEED_MOUNTS and not bench.can_mount):
                continue
            for one in [int(number)] if number else range(turn * times, (turn + 1) * times):
                seed = f"{args.seed}/{kind}/{one}"
                if kind == "damaged file":
                    target, *verdict = worker.damage(seed)
                    yield Attacked(kind, one, target, Verdict(*verdict))
                else:
                    job = JOBS[one % len(JOBS)]
                    yield Attacked(kind, one, job.name, attack(bench, kind, job, random.Random(seed)))


def keep(attacked: Attacked, args: argparse.Namespace, folder: Path) -> None:
    """Copy what a bad outcome left, and say how it can be repeated."""
    kind, number, target, verdict = attacked
    line = f"python -m tests.campaign --seed {args.seed} --only '{kind}:{number}'"
    place = args.keep / f"{kind.replace(' ', '-')}-{args.seed}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / ("damaged" if kind == "damaged file" else "attacked"), place / "files", symlinks=True)
    (place / "found.txt").write_text(f"{line}\n{target}: {verdict.outcome}\n{verdict.said}\n", encoding="utf-8")
    print(f"{target}: {verdict.outcome}: {verdict.said.strip()}\n  kept in {place}\n  {line}", flush=True)


def table(found: Sequence[Attacked]) -> str:
    """Return how often each outcome was seen, by kind of attack, as a Markdown table."""
    counts = Counter((attacked.kind, attacked.verdict.outcome) for attacked in found)
    heads = ["attack", "times", "right", "one sentence", "refused", "traceback", "different", "hang", "half"]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for kind in dict.fromkeys(attacked.kind for attacked in found):
        cells = [counts[kind, outcome] for outcome in OUTCOMES]
        lines.append(f"| {' | '.join(map(str, [kind, sum(cells), *cells]))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

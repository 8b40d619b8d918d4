"""The save rule, and a state that restores a run to the last bit."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from comparing import assert_same_weights, close_to
from safetensors.torch import save_file

import training.checkpoint
from arguments import OptimizationArguments
from runtime.errors import UserError
from runtime.files import remove_leftovers, write_text
from training.checkpoint import BestCheckpoints, Progress, find_state, load_state, remove_older_states, save_state
from training.optimization import make_optimizer, make_scheduler


class Killed(BaseException):
    """Stands in for a signal that nothing can catch."""


# ----------------------------------------------------------------------------------------------------- the save rule


@pytest.mark.parametrize(
    ("loss", "exact_match", "saved", "loss_step", "exact_match_step"),
    [
        (1.9, 49.0, True, 2, 1),  # loss fell
        (2.1, 51.0, True, 1, 2),  # exact match rose
        (1.9, 51.0, True, 2, 2),  # both
        (2.0, 50.0, False, 1, 1),  # neither moved
        (2.1, 49.0, False, 1, 1),  # both got worse
        (float("nan"), 49.0, False, 1, 1),
        (float("nan"), 51.0, True, 1, 2),
    ],
)
def test_a_checkpoint_is_saved_when_loss_fell_or_exact_match_rose(
    loss: float, exact_match: float, saved: bool, loss_step: int, exact_match_step: int
) -> None:
    best = BestCheckpoints()
    assert best.update(1, 2.0, 50.0)  # the first evaluation always is
    assert best.update(2, loss, exact_match) == saved
    assert (best.loss_step, best.exact_match_step) == (loss_step, exact_match_step)
    assert best.kept == ([1, 2] if saved else [1])


def test_each_best_is_over_all_evaluations() -> None:
    """The original compared each with the value at its own last save only."""
    best = BestCheckpoints()
    evaluations = [(2.0, 10.0), (3.0, 20.0), (2.5, 15.0), (1.0, 5.0), (1.5, 21.0)]
    assert [best.update(step, *values) for step, values in enumerate(evaluations)] == [True, True, False, True, True]
    assert (best.loss, best.loss_step, best.exact_match, best.exact_match_step) == (1.0, 3, 21.0, 4)


def test_of_equal_exact_matches_f1_and_then_loss_decide() -> None:
    best = BestCheckpoints()
    evaluations = [  # loss, exact match, F1, saved, the best step by exact match
        (1.0, 10.0, 50.0, True, 0),
        (2.0, 40.0, 60.0, True, 1),
        (3.0, 40.0, 60.0, False, 1),  # F1 is equal too, and its loss is higher
        (3.0, 40.0, 61.0, True, 3),
        (2.5, 40.0, 61.0, True, 4),  # a lower loss than the best one's, not than all
        (2.5, 40.0, 61.0, False, 4),
        (0.5, 40.0, 60.5, True, 4),  # saved for its loss
        (9.0, 40.5, 0.0, True, 7),
    ]
    for step, (loss, exact_match, f1, saved, best_step) in enumerate(evaluations):
        assert (best.update(step, loss, exact_match, f1), best.exact_match_step) == (saved, best_step), step
    assert (best.loss, best.loss_step, best.stale) == (0.5, 6, 0)


@pytest.mark.parametrize("evaluated", [False, True])
def test_a_state_without_f1_is_resumed(tmp_path: Path, evaluated: bool) -> None:
    """As an earlier version wrote it: of equal exact matches the first stays, and Infinity was no JSON."""
    save_state(tmp_path, Progress(1), BestCheckpoints(), *_training())
    folder = find_state(tmp_path, "true")
    state = json.loads((folder / "state.json").read_text())
    own = {"loss": 1.0, "loss_step": 1, "exact_match": 40.0, "exact_match_step": 1, "stale": 0, "kept": [1]}
    if not evaluated:
        own |= {"loss": float("inf"), "loss_step": None, "exact_match": -1.0, "exact_match_step": None, "kept": []}
    (folder / "state.json").write_text(json.dumps(state | {"best": own}))
    _, best = load_state(folder, *_training())
    if evaluated:
        assert not best.update(2, 1.5, 40.0, 99.0) and best.exact_match_step == 1
        assert best.update(3, 1.5, 41.0, 0.0) and not best.update(4, 1.6, 41.0, 0.0)
    else:
        assert best.update(2, 1.5, 0.0, 0.0) and (best.loss_step, best.exact_match_step) == (2, 2)
    save_state(tmp_path, Progress(2), best, *_training())


@pytest.mark.parametrize("limit", [1, 2, 3, 0])
def test_the_surplus_is_the_oldest_and_never_a_best(limit: int) -> None:
    rng = random.Random(0)
    for _ in range(50):
        best, on_disk = BestCheckpoints(), []
        for step in range(12):
            if best.update(step, rng.random(), rng.randint(0, 5)):
                on_disk.append(step)
            bests = {best.loss_step, best.exact_match_step}
            removed = best.surplus(limit)
            # the definition, one at a time: the oldest that is no best, until few enough are left
            expected = list(on_disk)
            while limit and len(expected) > limit and set(expected) - bests:
                expected.remove(min(set(expected) - bests))
            assert removed == [kept for kept in on_disk if kept not in expected]
            on_disk = expected
            assert best.kept == on_disk and bests <= set(on_disk)
            assert limit == 0 or len(on_disk) <= max(limit, len(bests))


# --------------------------------------------------------------------------------------------------- save and restore


class Training(NamedTuple):
    """A small training with everything that a step depends on: AdamW, a schedule, dropout and random rows."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any

    def step(self) -> float:
        rows = torch.randn(4, 6) + random.random() + np.random.random()  # (rows, 6)
        loss = self.model(rows).square().mean()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return loss.item()


def _training(schedule: str = "cosine", seed: int = 0) -> Training:
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(6, 5), torch.nn.LayerNorm(5), torch.nn.Dropout(0.5), torch.nn.Linear(5, 1)]
    model = torch.nn.Sequential(*layers)
    arguments = OptimizationArguments(learning_rate=0.05, weight_decay=0.1, lr_scheduler_type=schedule)
    optimizer = make_optimizer(model.named_parameters(), arguments, "encoder")
    assert optimizer.defaults["fused"]
    return Training(model, optimizer, make_scheduler(optimizer, arguments, 20))


def _draw() -> tuple[float, ...]:
    """The next number of every generator."""
    return random.random(), random.gauss(0, 1), np.random.random(), np.random.normal(), torch.rand(()).item()


@pytest.mark.parametrize("schedule", ["linear", "cosine", "cosine_with_restarts", "polynomial", "inverse_sqrt"])
def test_a_restored_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, schedule: str) -> None:
    training = _training(schedule)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    random.gauss(0, 1), np.random.normal()  # each keeps a second number back for the next call
    for _ in range(5):
        training.step()
    best = BestCheckpoints()
    best.update(3, 0.25, 12.5)
    save_state(tmp_path, Progress(5, 1, 2), best, *training)
    numbers = _draw()
    losses = [training.step() for _ in range(4)]

    restored = _training(schedule, seed=99)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    progress, best_again = load_state(find_state(tmp_path, "true"), *restored)
    assert (progress, best_again) == (Progress(5, 1, 2), best)
    assert _draw() == numbers
    assert [restored.step() for _ in range(4)] == close_to(losses)
    assert restored.scheduler.get_last_lr() == training.scheduler.get_last_lr()
    for name, value in training.model.state_dict().items():
        assert torch.equal(restored.model.state_dict()[name], value)
    for state, expected in zip(restored.optimizer.state.values(), training.optimizer.state.values(), strict=True):
        assert state.keys() == expected.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(state[name], expected[name]) for name in state)


def test_a_state_before_the_first_evaluation_is_restored_too(tmp_path: Path) -> None:
    save_state(tmp_path, Progress(), BestCheckpoints(), *_training())
    progress, best = load_state(find_state(tmp_path, "true"), *_training())
    assert (progress, best) == (Progress(), BestCheckpoints())


def test_weights_that_share_memory_are_saved(tmp_path: Path) -> None:
    training = _training()
    training.model.tied = torch.nn.Linear(6, 5)
    training.model.tied.weight = training.model[0].weight
    save_state(tmp_path, Progress(), BestCheckpoints(), *training)
    assert find_state(tmp_path, "true") is not None


def test_weights_that_a_reader_of_the_run_has_take_no_room_of_their_own(tmp_path: Path) -> None:
    training = _training()
    for reader in ("checkpoint-4", "best"):
        (tmp_path / reader).mkdir()
    save_file(training.model.state_dict(), tmp_path / "checkpoint-4" / "model.safetensors", metadata={"format": "pt"})
    save_file(_training(seed=1).model.state_dict(), tmp_path / "best" / "model.safetensors", metadata={"format": "pt"})
    for step, shared in ((4, True), (5, False)):
        save_state(tmp_path, Progress(step), BestCheckpoints(), *training)
        state = find_state(tmp_path, "true")
        assert (state / "model.safetensors").samefile(tmp_path / "checkpoint-4" / "model.safetensors") == shared
    shutil.rmtree(tmp_path / "checkpoint-4")
    restored = _training(seed=99)
    load_state(state, *restored)
    assert all(torch.equal(restored.model.state_dict()[k], v) for k, v in training.model.state_dict().items())


def test_the_loss_scaler_is_restored(tmp_path: Path) -> None:
    def scaler() -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)

    training, saved = _training(), scaler()
    saved.scale(training.model(torch.ones(1, 6)).sum()).backward()
    saved.step(training.optimizer)
    saved.update()
    assert saved.get_scale() == 8.0
    save_state(tmp_path, Progress(1, 0, 1), BestCheckpoints(), *training, saved)
    restored = scaler()
    load_state(find_state(tmp_path, "true"), *_training(), restored)
    assert restored.state_dict() == saved.state_dict()


def test_a_state_is_safetensors_and_json(tmp_path: Path) -> None:
    training = _training()
    training.step()
    save_state(tmp_path, Progress(7), BestCheckpoints(), *training)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        f"resume/step-00000007/{name}"
        for name in (
            "checksums.json",
            "model.safetensors",
            "optimizer.safetensors",
            "rng.safetensors",
            "state.json",
        )
    ]


def test_another_model_and_other_trained_weights_are_refused(tmp_path: Path) -> None:
    training = _training()
    training.step()
    save_state(tmp_path, Progress(1), BestCheckpoints(), *training)
    state = find_state(tmp_path, "true")
    with pytest.raises(UserError, match=f"the state in {state} is of another model than this run's: "):
        load_state(state, torch.nn.Linear(2, 2), training.optimizer, training.scheduler)
    other = _training()
    fewer = make_optimizer(list(other.model.named_parameters())[1:], OptimizationArguments(), "encoder")
    with pytest.raises(UserError, match=f"the state in {state} trained other weights: resume with the freeze flags"):
        load_state(state, other.model, fewer, other.scheduler)


# -------------------------------------------------------------------------------------------------------- find, kill


def _save(folder: Path, step: int) -> Path:
    """Save a state with weights that no other step has."""
    save_state(folder, Progress(step), BestCheckpoints(), *_training(seed=step))
    return folder / "resume" / f"step-{step:08d}"


def _assert_is_of(state: Path | None, step: int) -> None:
    """Assert that a state has the step and the weights that ``_save`` gave it."""
    restored = _training(seed=99)
    progress, _ = load_state(state, *restored)
    assert progress == Progress(step)
    assert_same_weights(restored.model, _training(seed=step).model)


def test_only_the_newest_state_is_kept(tmp_path: Path) -> None:
    _save(tmp_path, 9)
    newest = _save(tmp_path, 10)
    assert list((tmp_path / "resume").iterdir()) == [newest]
    _assert_is_of(newest, 10)


def test_a_state_is_found_by_true_and_by_its_folder(tmp_path: Path, log_lines: list[str]) -> None:
    assert find_state(tmp_path, None) is None
    assert find_state(tmp_path / "nowhere", "true") is None
    assert log_lines == [f"INFO nothing to resume in {tmp_path / 'nowhere'}: the run starts from scratch"]
    state = _save(tmp_path / "run", 3)
    assert find_state(tmp_path / "run", None) is None
    for wish in ("true", "True", "yes", "auto"):
        assert find_state(tmp_path / "run", wish) == state
    assert find_state(tmp_path / "run", f"{tmp_path}/elsewhere/../run/resume/step-00000003/") == state


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    """Its best checkpoints lie in the other run's folder."""
    state, own = _save(tmp_path / "run", 3), _save(tmp_path / "own", 5)
    with pytest.raises(UserError) as error:
        find_state(tmp_path / "own", str(state))
    assert str(error.value) == (
        f"--resume_from_checkpoint {state} is not a training state of --output_dir {tmp_path / 'own'} "
        f"(it holds {own}): a run goes on in its own folder; pass true for its newest state"
    )


def test_the_newest_of_several_states_is_found(tmp_path: Path) -> None:
    older, newer = _save(tmp_path / "a", 999), _save(tmp_path / "b", 10000)
    shutil.copytree(older, newer.parent / older.name)
    assert find_state(tmp_path / "b", "true") == newer
    _assert_is_of(newer, 10000)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_state_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UserError, match=rf"--resume_from_checkpoint .*{name} is not a training state .*it holds none.*pass true"
    ):
        find_state(tmp_path, str(tmp_path / name))


@pytest.mark.parametrize("function", ["save_file", "write_json"])
def test_killed_while_writing_leaves_the_older_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    older = _save(tmp_path, 4)
    before = {path.name: path.read_bytes() for path in older.iterdir()}

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(training.checkpoint, function, killed)
    with pytest.raises(Killed):
        _save(tmp_path, 8)
    assert find_state(tmp_path, "true") == older
    assert {path.name: path.read_bytes() for path in older.iterdir()} == before
    _assert_is_of(older, 4)


def test_what_a_killed_save_left_behind_is_no_state(tmp_path: Path) -> None:
    write_text(tmp_path / "resume" / ".step-00000008.staging-killed" / "state.json", "{")
    assert find_state(tmp_path, "true") is None
    older = _save(tmp_path, 4)
    assert len(list((tmp_path / "resume").iterdir())) == 2
    assert find_state(tmp_path, "true") == older
    remove_leftovers(tmp_path / "resume")
    assert list((tmp_path / "resume").iterdir()) == [older]


def test_killed_while_the_older_state_is_removed_leaves_the_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = _save(tmp_path, 4)

    def killed(folder: Path, ignore_errors: bool = False) -> None:
        if (folder / "state.json").exists():
            (folder / "state.json").unlink()
            raise Killed

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        _save(tmp_path, 8)
    monkeypatch.undo()
    newer = find_state(tmp_path, "true")
    assert newer == tmp_path / "resume" / "step-00000008" and not older.exists()
    _assert_is_of(newer, 8)


def test_states_before_the_one_that_a_run_goes_on_from_are_removed(tmp_path):
    training = _training()
    for step in (2, 4, 6):
        save_state(tmp_path / str(step), Progress(step), BestCheckpoints(), *training)
        (tmp_path / "resume").mkdir(exist_ok=True)
        name = f"resume/step-{step:08d}"
        (tmp_path / str(step) / name).rename(tmp_path / name)
    remove_older_states(tmp_path / "resume/step-00000004")
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["step-00000004", "step-00000006"]

"""train_mrc_v2.py end to end on a tiny model: what it writes, that it trains as train_mrc.py does, and its flags."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import PROPORTIONAL_STEPS, assert_equal_weights, assert_same_training, close_to, share_weights, weights
from killing import Killed, kill_and_resume, kill_at
from transformers import PreTrainedModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

import train_mrc
import train_mrc_v2
import trainer_qa
from models import load_reader, load_tokenizer
from runtime.checksums import fault_of_folder
from runtime.errors import UserError
from runtime.tracking import read_metrics
from trainer_qa import QATrainer
from training import trainer_callbacks
from training.trainer_checkpoint import find_checkpoint

ROOT = Path(train_mrc_v2.__file__).parent


@pytest.fixture
def command(training_command: list[str]) -> list[str]:
    return [*training_command, "--do_train"]


def logged(folder: Path, name: str) -> list[float]:
    return [line[name] for line in read_metrics(folder / "metrics.jsonl") if name in line]


# -------------------------------------------------------------------------------------------------- what it writes


def test_writes_exactly_these_files(command: list[str], tmp_path: Path) -> None:
    steps = ["--eval_steps", "4", "--save_steps", "6", "--run_name", "tiny", "--description", "a test"]
    metrics = train_mrc_v2.main([*command, "--do_eval", *steps])
    run = tmp_path / "run" / "tiny"
    assert {path.name for path in run.iterdir()} == {
        "arguments.json", "environment.json", "metrics.json", "metrics.jsonl", "best", "checkpoint-6", "checkpoint-12"
    }  # fmt: skip
    reader = {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "arguments.json",
        "environment.json", "checksums.json",
    }  # fmt: skip
    of_the_trainer = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"}
    assert {path.name for path in (run / "best").iterdir()} == {*reader, "metrics.json", "README.md"}
    assert {path.name for path in (run / "checkpoint-6").iterdir()} == {*reader, *of_the_trainer}
    assert {path.name for path in (run / "checkpoint-12").iterdir()} == {*reader, *of_the_trainer, "metrics.json"}
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert json.loads((run / "checkpoint-12" / "metrics.json").read_text())["step"] == 12
    arguments = json.loads((run / "arguments.json").read_text())
    assert (arguments["description"], arguments["learning_rate"]) == ("a test", 1e-3)
    environment = json.loads((run / "environment.json").read_text())
    assert (environment["seed"], environment["precision"]) == (42, "fp32")
    assert len(environment["data"]["train"]) == len(environment["data"]["evaluation"]) == 64
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "eval_exact_match" in line] == [4, 8, 12]


def test_every_checkpoint_keeps_how_it_was_trained_to_read(command: list[str], tmp_path: Path) -> None:
    train_mrc_v2.main([*command, "--save_steps", "6", "--max_ans_len", "9", "--postprocess", "none"])
    kept = {
        "max_seq_len": 128, "stride_len": 16, "max_ans_len": 9, "version_2_with_negative": False, "postprocess": "none",
        "shared_normalization": False,
    }  # fmt: skip
    for folder in ("best", "checkpoint-6", "checkpoint-12"):
        assert load_reader(str(tmp_path / "run" / folder)).config.reader_settings == kept


def test_without_answers_the_best_reader_is_that_of_the_lowest_loss(command: list[str], tmp_path: Path) -> None:
    flags = ["--do_eval", "--prediction_loss_only", "true", "--eval_steps", "4"]
    metrics = train_mrc_v2.main([*command, *flags])
    losses = logged(tmp_path / "run", "eval_loss")
    assert (len(losses), metrics["eval_loss"], "eval_exact_match" in metrics) == (3, min(losses), False)
    with pytest.raises(SystemExit):
        train_mrc_v2.parse([*command, *flags, "--metric_for_best_model", "f1"])


def test_without_evaluation_best_holds_the_last_weights(command: list[str], tmp_path: Path) -> None:
    assert train_mrc_v2.main(command) == {"step": 12}
    assert_equal_weights(tmp_path / "run" / "best", tmp_path / "run" / "checkpoint-12")


def test_learns_the_training_examples_and_the_reader_comes_back(command: list[str], tmp_path: Path) -> None:
    flags = ["--num_train_epochs", "60", "--learning_rate", "3e-3", "--backbone_dropout", "0", "--do_eval"]
    metrics = train_mrc_v2.main([*command, *flags, "--head", "cnn", "--head_dropout_ratio", "0.1"])
    losses = logged(tmp_path / "run", "loss")
    assert losses[-1] < losses[0] / 10
    assert metrics["eval_exact_match"] >= 80  # the validation questions are among the training questions
    moved = (tmp_path / "run" / "best").rename(tmp_path / "moved")
    model = load_reader(str(moved), trained=True)
    assert (model.config.reader_head["name"], model.config.reader_head["dropout"]) == ("cnn", 0.1)
    assert model.state_dict().keys() == weights(moved).keys()
    assert len(load_tokenizer(str(moved))) == model.config.vocab_size


# ------------------------------------------------------------------------------------------ the same as train_mrc.py


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--label_smoothing_factor 0.2 --warmup_ratio 0.3 --weight_decay 0.1",
        "--head cnn_sds --head_learning_rate 3e-3 --layerwise_lr_decay 0.7 --seed 7",
        "--head start_conditioned_end --lr_scheduler_type cosine_with_restarts --warmup_cycles 2 --max_grad_norm 0.5",
        "--augment mask_context,multiple_answers --num_train_epochs 2.5 --use_max_padding True",
        "--shared_normalization --head passage_selection --augment negative_passage --negative_passages_path TABLE",
    ],
)
def test_both_commands_follow_the_same_loss_curve(
    training_command: list[str], passages_path: str, tmp_path: Path, flags: str
) -> None:
    words = [*training_command, "--backbone_dropout", "0", "--do_eval", "--eval_steps", "5", *PROPORTIONAL_STEPS]
    words += flags.replace("TABLE", passages_path).split()
    both = (train_mrc.main, words), (train_mrc_v2.main, [*words, "--do_train"])
    best = [main([*words, "--output_dir", str(tmp_path / str(n))]) for n, (main, words) in enumerate(both)]
    for name in ("loss", "learning_rate", "eval_loss", "eval_exact_match", "eval_f1"):
        left, right = (logged(tmp_path / str(n), name) for n in range(2))
        assert len(left) >= 2 and left == close_to(right), name
    assert best[0]["step"] == best[1]["step"]
    assert_equal_weights(tmp_path / "0" / "best", tmp_path / "1" / "best", atol=1e-5)
    last = next((tmp_path / "0" / "resume").iterdir())
    newest = max((tmp_path / "1").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert_equal_weights(last, newest, atol=1e-5)


def test_both_commands_accumulate_alike(training_command: list[str], tmp_path: Path) -> None:
    words = [*training_command, "--backbone_dropout", "0", "--gradient_accumulation_steps", "2", *PROPORTIONAL_STEPS]
    for name, main in (("0", train_mrc.main), ("1", train_mrc_v2.main)):
        extra = ["--do_train"] if name == "1" else []
        main([*words, *extra, "--output_dir", str(tmp_path / name)])
    assert logged(tmp_path / "0", "learning_rate") == pytest.approx(logged(tmp_path / "1", "learning_rate"))
    assert_equal_weights(tmp_path / "0" / "best", tmp_path / "1" / "best", atol=1e-5)


# ------------------------------------------------------------------------------------------------------ resuming


@pytest.mark.parametrize(
    ("flags", "call", "saved"),
    [("", 4, 2), ("--gradient_accumulation_steps 2 --augment mask_word", 8, 4), ("--freeze_type bert", 8, 6)],
)
def test_killed_and_resumed_gives_the_same_weights(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, call: int, saved: int
) -> None:
    command = [*command, "--save_steps", "2", "--do_eval", "--eval_steps", "3", *PROPORTIONAL_STEPS, *flags.split()]
    train_mrc_v2.main([*command, "--output_dir", str(tmp_path / "undisturbed")])
    kill_and_resume(train_mrc_v2.main, command, monkeypatch, QATrainer, "compute_loss", call, saved)

    run, reference = tmp_path / "run", tmp_path / "undisturbed"
    assert {path.name for path in run.iterdir()} == {path.name for path in reference.iterdir()}
    assert_same_training(run / "best", reference / "best")
    for folder in reference.glob("checkpoint-*"):
        assert_same_training(run / folder.name, folder)
    for name in ("loss", "eval_loss"):
        assert logged(run, name) == close_to(logged(reference, name))


def test_a_checkpoint_has_its_records_from_the_moment_it_has_its_name(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, trainer_qa, "remove_surplus", 1)
    with pytest.raises(Killed):
        train_mrc_v2.main([*command, "--save_steps", "2", "--max_train_samples", "8"])
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert {"arguments.json", "environment.json"} <= json.loads((checkpoint / "checksums.json").read_text()).keys()
    assert fault_of_folder(checkpoint) is None


def test_a_run_is_neither_overwritten_nor_mixed_up_unasked(command: list[str], tmp_path: Path) -> None:
    train_mrc_v2.main([*command, "--max_train_samples", "4"])
    with pytest.raises(UserError, match="already holds a run: continue it with --resume_from_checkpoint true"):
        train_mrc_v2.main(command)
    train_mrc_v2.main([*command, "--max_train_samples", "8", "--overwrite_output_dir"])
    assert not (tmp_path / "run" / "checkpoint-4").exists() and (tmp_path / "run" / "checkpoint-8").exists()


# ------------------------------------------------------------------------------------- best reader, early stopping

# step: 1         2         3         4         5         6
SCRIPT = [(3.0, 10), (2.0, 90), (2.5, 30), (2.1, 40), (1.0, 20), (0.9, 95)]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the evaluations of both commands have the losses and exact matches of ``SCRIPT``, by step."""

    def metrics(step: int) -> dict[str, float]:
        loss, exact_match = SCRIPT[step - 1]
        return {"eval_loss": loss, "eval_exact_match": float(exact_match), "eval_f1": -loss}

    def read(trainer: QATrainer, features: Any, examples: Any, stage: str, prefix: str) -> Any:
        return original(trainer, features, examples, stage, prefix)._replace(metrics=metrics(trainer.state.global_step))

    original = QATrainer._read
    monkeypatch.setattr(QATrainer, "_read", read)
    monkeypatch.setattr(train_mrc, "evaluate", lambda run: metrics(run.loop.progress.step))
    yield


@pytest.mark.parametrize(("metric", "step"), [(None, 2), ("eval_loss", 5), ("f1", 5)])
def test_best_is_the_best_evaluated_reader_also_where_no_checkpoint_was_saved(
    command: list[str], tmp_path: Path, scripted: None, metric: str | None, step: int
) -> None:
    chosen = [] if metric is None else ["--metric_for_best_model", metric]
    flags = ["--num_train_epochs", "1.6", "--do_eval", "--eval_steps", "1", "--save_strategy", "no"]
    metrics = train_mrc_v2.main([*command, *flags, *chosen])
    assert metrics["step"] == step
    assert json.loads((tmp_path / "run" / "best" / "metrics.json").read_text())["eval_loss"] == SCRIPT[step - 1][0]


def test_weights_that_are_equal_take_the_room_of_one(command: list[str], tmp_path: Path, scripted: None) -> None:
    run = tmp_path / "run"
    train_mrc_v2.main([*command, "--num_train_epochs", "1.6", "--do_eval", "--eval_steps", "1", "--save_steps", "2"])
    shared = {path.name: share_weights(path, run / "best") for path in run.glob("checkpoint-*")}
    # the second evaluation is the best
    assert shared == {"checkpoint-2": True, "checkpoint-4": False, "checkpoint-5": False}


def test_without_evaluation_best_takes_no_room(command: list[str], tmp_path: Path) -> None:
    train_mrc_v2.main([*command, "--save_steps", "5"])
    assert share_weights(tmp_path / "run" / "best", tmp_path / "run" / "checkpoint-12")


def test_a_checkpoint_that_is_written_again_leaves_best_as_it_is(
    command: list[str], tmp_path: Path, scripted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    command += ["--num_train_epochs", "1.6", "--do_eval", "--eval_steps", "1", "--save_steps", "1"]
    command += ["--save_total_limit", "0"]
    train_mrc_v2.main(command)
    assert share_weights(run / "checkpoint-2", run / "best")
    before, earlier = (run / "best" / "model.safetensors").read_bytes(), str(run / "checkpoint-1")

    def half(model: PreTrainedModel, folder: str, **_: Any) -> None:
        with (Path(folder) / "model.safetensors").open("wb") as file:
            file.write(b"half")
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PreTrainedModel, "save_pretrained", half)
        patch.setattr(trainer_callbacks, "is_best", lambda *_: False)
        train_mrc_v2.main([*command, "--resume_from_checkpoint", earlier])
    assert (run / "best" / "model.safetensors").read_bytes() == before
    assert find_checkpoint(run, "true") != run / "checkpoint-2"


@pytest.mark.parametrize(("limit", "kept"), [([], {2, 4, 5}), (["--save_total_limit", "0"], {1, 2, 3, 4, 5})])
def test_a_disk_is_not_filled_unasked_and_the_best_stays(
    command: list[str], tmp_path: Path, scripted: None, limit: list[str], kept: set[int]
) -> None:
    run, flags = tmp_path / "run", ["--num_train_epochs", "1.6", "--do_eval", "--eval_steps", "1", "--save_steps", "1"]
    assert train_mrc_v2.main([*command, *flags, *limit])["step"] == 2
    assert {int(path.name.split("-")[1]) for path in run.glob("checkpoint-*")} == kept
    assert find_checkpoint(run, "true") == run / "checkpoint-5"


@pytest.mark.parametrize("main", [train_mrc.main, train_mrc_v2.main])
@pytest.mark.parametrize(("patience", "stops_at"), [(1, 3), (2, 4)])
def test_stops_at_the_evaluation_that_exhausts_the_patience(
    training_command: list[str], tmp_path: Path, scripted: None, main: Any, patience: int, stops_at: int
) -> None:
    index = training_command.index("--num_train_epochs")
    command = [
        *training_command[:index],
        *training_command[index + 2 :],
        "--max_steps",
        "6",
        "--do_eval",
        "--eval_steps",
        "1",
    ]
    command += ["--early_stopping_patience", str(patience)]
    command += ["--do_train", "--save_steps", "1"] if main is train_mrc_v2.main else []
    metrics = main(command)
    run = tmp_path / "run"
    assert logged(run, "eval_loss") == [loss for loss, _ in SCRIPT[:stops_at]]
    assert len(logged(run, "loss")) == stops_at
    best = max(range(stops_at), key=lambda index: SCRIPT[index][1]) + 1
    assert metrics["step"] == best and metrics["eval_exact_match"] == SCRIPT[best - 1][1]

    # a stopped run that is resumed is over; one that was killed before counts on
    assert main([*command, "--resume_from_checkpoint", "true"]) == metrics
    assert len(logged(run, "eval_loss")) == stops_at
    if stops_at == 4:
        earlier = {train_mrc.main: None, train_mrc_v2.main: run / "checkpoint-3"}[main]
        if earlier is not None:
            main([*command, "--resume_from_checkpoint", str(earlier)])
            assert logged(run, "eval_loss") == [loss for loss, _ in SCRIPT[:stops_at]]


# ----------------------------------------------------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("kind", "prefix", "epochs", "frozen_steps"),
    [
        ("backbone", "bert.", "1", 3),
        ("embeddings", "bert.embeddings.", "1.4", 4),
        ("bert.encoder", "bert.encoder.", "0.6", 2),
    ],
)
def test_freezes_until_the_exact_step(
    command: list[str], tmp_path: Path, encoder_path: str, kind: str, prefix: str, epochs: str, frozen_steps: int
) -> None:
    freeze = ["--freeze_type", kind, "--freeze_epoch", epochs, "--save_steps", "1", "--save_total_limit", "0"]
    train_mrc_v2.main([*command, "--num_train_epochs", "2", "--lr_scheduler_type", "constant", *freeze])
    before = {f"bert.{name}": value for name, value in weights(Path(encoder_path)).items()}
    for step in (frozen_steps, frozen_steps + 1):
        after = weights(tmp_path / "run" / f"checkpoint-{step}")
        for name, value in before.items():
            still = name.startswith(prefix) and step == frozen_steps
            assert torch.equal(after[name], value) == still, (step, name)


@pytest.fixture(scope="session")
def roberta_path(tmp_path_factory: pytest.TempPathFactory, roberta_tokenizer: PreTrainedTokenizerFast) -> str:
    """A tiny random RoBERTa encoder with its tokenizer."""
    folder = tmp_path_factory.mktemp("roberta")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(vocab_size=len(roberta_tokenizer), max_position_embeddings=514, pad_token_id=1, **sizes)
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    roberta_tokenizer.model_max_length = 512
    roberta_tokenizer.save_pretrained(folder)
    roberta_tokenizer.model_max_length = 128
    return str(folder)


def test_the_documented_command_runs_offline(
    roberta_path: str, dataset_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setattr(
        "runtime.tracking._start_wandb", lambda arguments, config, folder: started.update(vars(arguments))
    )
    metrics = train_mrc_v2.main(
        f"--do_train --do_eval --output_dir {tmp_path}/saved --logging_dir {tmp_path}/logs --seed 42 "
        "--model klue/roberta-large --num_train_epochs 7 --learning_rate 3.4e-5 --weight_decay 0.015 "
        "--max_seq_len 512 --max_ans_len 30 --evaluation_strategy steps --eval_steps 100 --logging_steps 100 "
        "--save_steps 200 --save_total_limit 5 --freeze_type roberta --freeze_epoch 1.0 "
        "--label_smoothing_factor 0.02 --wandb_project exp_trainer --wandb_entity NAME --run_name a --description b "
        f"--model {roberta_path} --dataset_path {dataset_path} --cache_dir {tmp_path}/cache --stride_len 16".split()
    )
    assert metrics["step"] == 7 and metrics["eval_loss"] > 0
    assert (tmp_path / "logs" / "a" / "metrics.jsonl").exists()
    assert not list((tmp_path / "saved").rglob("metrics.jsonl")) and (tmp_path / "saved" / "a" / "best").is_dir()
    assert (started["wandb_project"], started["wandb_entity"], started["run_name"]) == ("exp_trainer", "NAME", "a")


def test_the_example_script_gives_the_documented_command() -> None:
    script = (ROOT / "script" / "train_mrc_v2_example.sh").read_text(encoding="utf-8")
    assert script.rstrip().endswith('"$@"')
    printing = 'run() { printf "%s\\n" "$@"; }\n' + script.replace("source ", "true ")
    bash = subprocess.run(["bash", "-c", printing, "-", "--seed", "7"], capture_output=True, text=True, check=True)
    python, command, *words = bash.stdout.splitlines()
    assert (python, command) == ("python", "train_mrc_v2.py")
    args = train_mrc_v2.parse(words)
    assert (args.seed, args.weight_decay, args.freeze_type) == (7, 0.015, "roberta")
    assert (args.eval_strategy, args.eval_steps, args.save_steps) == ("steps", 100, 200)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--learning_rat 1", "--learning_rat is not a flag of train_mrc_v2.py; did you mean --learning_rate?"),
        ("--retrieval_weight 1", "--retrieval_weight has no effect in train_mrc_v2.py; it is a flag of inference.py"),
        ("--freeze_epoch 2", "--freeze_epoch would be ignored: add --freeze_type"),
        ("--freeze_type bert --freeze_epoch 0", "--freeze_epoch 0 must be above 0"),
        (
            "--freeze_pretrained_weight first",
            "--freeze_pretrained_weight is not a flag of train_mrc_v2.py: use --freeze_type",
        ),
        ("--do_predict", "inference.py answers the test questions"),
        ("--fp16_full_eval", "--fp16_full_eval is not a flag of train_mrc_v2.py: evaluation reads"),
        ("--eval_steps 5", "--eval_steps would be ignored: nothing is evaluated while training"),
        ("--early_stopping_patience 2", "--early_stopping_patience would be ignored: nothing is evaluated"),
        ("--do_eval --early_stopping_patience 0", "--early_stopping_patience 0 must be at least 1"),
        ("--metric_for_best_model f1", "--metric_for_best_model would be ignored: nothing is evaluated"),
        ("--save_strategy no --save_steps 5", "--save_steps would be ignored: only --save_strategy steps"),
        ("--logging_strategy epoch --logging_steps 5", "--logging_steps would be ignored: only --logging_strategy"),
        ("--bf16 --precision fp32", "--precision would be ignored: --bf16 or --fp16 is given"),
        ("--bf16 --fp16", "--fp16 would be ignored: --bf16 is given"),
        ("--group_by_length False", "--group_by_length would be ignored: batches hold features of similar length"),
        ("--report_to tensorboard --wandb_project x", "--wandb_project would be ignored: this --report_to"),
        ("--negative_passages 2", "--negative_passages would be ignored: only --augment negative_passage reads it"),
    ],
)
def test_what_would_be_ignored_is_refused(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train_mrc_v2.parse(["--do_train", *words.split()])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--do_eval", "add --do_train: this command trains a reader, inference.py evaluates one"),
        ("--do_train --do_eval --metric_for_best_model f2", "f2 is not measured; choose from: loss, exact_match, f1"),
    ],
)
def test_what_this_command_does_not_do_is_refused(
    words: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        train_mrc_v2.main([*words.split(), "--output_dir", str(tmp_path / "run")])
    assert end.value.code == 2 and complaint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--do_train --report_to all", "--report_to all is not a tracker; choose from: auto, none, wandb, "),
        ("--do_train --fp16", "--precision fp16 needs a CUDA device"),
        (
            "--do_train --do_eval --eval_steps 3 --load_best_model_at_end",
            "refuses these flags: --load_best_model_at_end",
        ),
        ("--do_train --lr_scheduler_type square", "the Trainer refuses these flags: square is not a valid"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_sentence(words: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        train_mrc_v2.main([*words.split(), "--output_dir", str(tmp_path / "run")])
    assert complaint in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_unknown_weight_to_freeze_leaves_nothing_behind(command: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="named roberta; the names of this reader begin with: bert, qa_outputs"):
        train_mrc_v2.main([*command, "--freeze_type", "roberta"])
    assert not (tmp_path / "run").exists()

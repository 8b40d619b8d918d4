"""Answer questions: find passages, read them, write predictions.json.

    python inference.py --do_predict --model ./saved/bert/best --dataset_path ../data --output_dir ./outputs/bert

Writes to --output_dir: predictions.json ({id: text}, every question, in the data set's order), nbest_predictions.json,
retrieved_passages.csv, and with --do_eval metrics.json: retrieval, oracle-passage and end-to-end scores side by side.
With --tune also tuned.json, the flags that answer best, and tuning.json, all that was tried.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import InferenceArguments, check_command_line

    check_command_line(InferenceArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed

from arguments import InferenceArguments, parse_arguments, record_of
from pipeline import Reader, own_contexts, processor_of
from reading.answers import nbest_of
from reading.comparison import Resampling
from reading.metrics import mean_scores, references_of
from reading.predictions import predictions_of
from reading.reader_settings import as_trained
from reading.tuning import Settings, Trials, as_flags, record, report, tune
from retrieval.finding import find_passages
from retrieval.metrics import KS, hit_at_k
from retrieval.table import Retrieved, write_retrieved_df
from retrieval.tuning import halves
from runtime.device import default_device, keep_freed_memory, resolve_precision
from runtime.division import gathered, places
from runtime.errors import UserError, run_command
from runtime.files import json_in_parts, write_json
from runtime.log import get_logger
from runtime.processes import joint_command
from runtime.progress import progress_bar
from runtime.record import environment
from runtime.timing import Stopwatch

logger = get_logger("inference")


def parse(argv: Sequence[str] | None = None) -> InferenceArguments:
    """Parse the command line."""
    return parse_arguments(InferenceArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Answer the questions; return the metrics (empty without --do_eval)."""
    args = parse(argv)
    with joint_command(args.output_dir) as is_main:
        return answer(args, is_main)


def answer(args: InferenceArguments, is_main: bool) -> dict[str, float]:
    """Find, read and, in the main process, write as the arguments say; return the metrics."""
    set_seed(args.seed)
    keep_freed_memory()
    device = default_device()
    precision = resolve_precision(args.precision, device)
    stopwatch = Stopwatch()

    # data and model
    args = as_trained(args)
    qa_processor = processor_of(args)
    examples = qa_processor.get_eval_examples() if args.do_eval else qa_processor.get_test_examples()
    reader = Reader.from_arguments(args, qa_processor)
    stopwatch.lap("load")

    # retrieve
    retrieved = find_passages(examples, args, args.dataset_path, args.skip_bad_rows, args.tokenizer or args.model)
    stopwatch.lap("retrieve")

    # read
    trials = trials_of(args, examples, retrieved) if args.tune else None
    if retrieved is None:
        weight, blocks = 0.0, reader.readings(own_contexts(examples))
    else:
        weight, blocks = args.retrieval_weight, reader.retrieved_readings(retrieved, args.passage_reading)
    predictions: dict[str, str] = {}
    nbest: Any = json_in_parts(Path(args.output_dir) / "nbest_predictions.json")  # of all too large to be kept
    with nbest if is_main else nullcontext(lambda answers: None) as write_nbest:
        with progress_bar(total=len(examples), desc="answering", unit="question", disable=not is_main) as progress:
            for readings in blocks:
                answers = reader.weigh(readings, weight)
                for found, read in gathered((answers, readings if args.tune else {})):
                    predictions |= predictions_of(found)
                    write_nbest(nbest_of(found))
                    if trials is not None and is_main:
                        trials.add(read)
                    progress.update(len(found))
        stopwatch.lap("read")

        # score
        metrics: dict[str, float] = {}
        if args.do_eval:
            metrics = score(reader, examples, retrieved, predictions)
            stopwatch.lap("score")

        # save
        if is_main:
            if args.do_eval:
                print_metrics(metrics)
            if trials is not None:
                save_tuning(args, trials, examples)
            record = environment(device, precision, args.seed) | {"processes": places()}
            save(args, examples, retrieved, predictions, metrics, record, stopwatch.laps)
    return metrics


def trials_of(args: InferenceArguments, examples: Dataset, retrieved: Retrieved | None) -> Trials:
    """Return what tries settings on the answers; :class:`UserError` if they cannot be chosen on two halves."""
    if len(set(halves(examples))) < 2:
        raise UserError("--tune chooses on one half of the passages and scores on the other: give it more questions")
    depth, weight = (1, 0.0) if retrieved is None else (retrieved.k, args.retrieval_weight)
    given = Settings(depth, weight, args.null_score_diff_threshold, args.postprocess)
    return Trials(args, given, retrieved is not None)


def save_tuning(args: InferenceArguments, trials: Trials, examples: Dataset) -> None:
    """Print which settings are best and how good they are on other questions; write them to --output_dir."""
    scores, resampling = trials.scores(references_of(examples)), Resampling(1000, args.seed)
    tuned = tune(scores, trials.given, halves(examples), resampling)
    print("\n" + report(tuned, scores, resampling))
    write_json(Path(args.output_dir) / "tuning.json", record(tuned, scores))
    write_json(Path(args.output_dir) / "tuned.json", as_flags(tuned.chosen, scores))
    print(f"The settings are in {args.output_dir}/tuned.json: add --config {args.output_dir}/tuned.json to later runs.")


def score(
    reader: Reader, examples: Dataset, retrieved: Retrieved | None, predictions: dict[str, str]
) -> dict[str, float]:
    """Return end-to-end scores and, with retrieval, hit@k and the scores with the gold passage given (oracle)."""
    references = references_of(examples)
    metrics = mean_scores(predictions, references)
    if retrieved is not None:
        oracle: dict[str, str] = {}
        for readings in reader.readings(own_contexts(examples), "reading gold passages"):
            for found in gathered(predictions_of(reader.weigh(readings))):
                oracle |= found
        metrics |= {f"oracle_{name}": value for name, value in mean_scores(oracle, references).items()}
        metrics |= hit_at_k(retrieved.blocks(), examples, [k for k in KS if k < retrieved.k] + [retrieved.k])
    return metrics


def print_metrics(metrics: dict[str, float]) -> None:
    """Print retrieval, oracle and end-to-end scores side by side, in percent."""
    print(f"{'':16}{'exact match':>12}{'F1':>8}")
    if "oracle_exact_match" in metrics:
        print(f"{'oracle passage':16}{metrics['oracle_exact_match']:12.2f}{metrics['oracle_f1']:8.2f}")
    name = "end to end" if "oracle_exact_match" in metrics else "given contexts"  # --retriever_type none
    print(f"{name:16}{metrics['exact_match']:12.2f}{metrics['f1']:8.2f}")
    for definition, name in (("gold passage", "hit@"), ("answer in text", "answer_hit@")):
        hits = [f"@{key.removeprefix(name)} {value:.2f}" for key, value in metrics.items() if key.startswith(name)]
        if hits:
            print(f"{definition:16}{'   '.join(hits)}")


def save(
    args: InferenceArguments,
    examples: Dataset,
    retrieved: Retrieved | None,
    predictions: dict[str, str],
    metrics: dict[str, float],
    record: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    """Write the best answers, passages, metrics and what the run was to --output_dir."""
    output_dir = Path(args.output_dir)
    write_json(output_dir / "predictions.json", {question: predictions[question] for question in examples["id"]})
    if retrieved is not None:
        write_retrieved_df(retrieved.blocks(), output_dir / "retrieved_passages.csv")
    if metrics:
        write_json(output_dir / "metrics.json", metrics | {"seconds": seconds})
    write_json(output_dir / "arguments.json", record_of(args))
    write_json(output_dir / "environment.json", record | {"seconds": seconds})
    logger.info("%d answers in %s", len(predictions), output_dir / "predictions.json")


if __name__ == "__main__":
    run_command(main)

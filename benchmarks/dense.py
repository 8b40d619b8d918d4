"""Time dense retrieval: encoding against sentence-transformers, exact search against faiss and numpy.

    python -m benchmarks.dense --model saved/e5-small-ko --corpus ../kowiki.jsonl.gz --sizes 10000 100000 1000000

Encoding: the same texts, lengths and pooling, in the precision and batches that each takes by default, and
sentence-transformers in bf16 too; the cosine is that of its vectors with ours, the lowest of all.

Search: random vectors of length 1, and questions that lie near some of them. What keeps float16 or int8 vectors looks
for --depth times as many passages in these and scores them again with the float32 vectors, which may then stay on disk:
the overlap is the share of the k best of float32 that it finds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from benchmarks.timing import exponent, machine, timed
from loading.corpus import Corpus, load_corpus
from models.inputs import titled
from retrieval.base import SearchResults, import_optional, top_k
from retrieval.dense import DenseArguments, DenseRetrieval
from retrieval.vector_search import search_vectors
from runtime.errors import run_command

_CPU = torch.device("cpu")
_NUMPY_QUESTIONS = 16  # questions whose scores numpy holds at once


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time encoding and exact search.", allow_abbrev=False)
    parser.add_argument("--model", help="one encoder for both sides; without it nothing is encoded")
    parser.add_argument("--corpus", help="passages to encode, as --context_path takes them")
    parser.add_argument("--tokens", type=int, default=256, help="longest passage")
    parser.add_argument("--encoded", type=int, default=512, help="passages to encode")
    parser.add_argument("--sizes", nargs="*", type=int, default=[10_000, 100_000, 1_000_000], help="vectors")
    parser.add_argument("--width", type=int, default=384, help="of a vector")
    parser.add_argument("--questions", type=int, default=64, help="questions to search for, all at once")
    parser.add_argument("--k", type=int, default=10, help="passages to find")
    parser.add_argument("--depth", type=int, default=4, help="times k, passages that are scored again")
    parser.add_argument("--repeats", type=int, default=3, help="runs timed; the best counts")
    arguments = parser.parse_args(argv)
    if arguments.model and not arguments.corpus:
        parser.error("--model needs --corpus, whose passages are encoded")
    return arguments


# ------------------------------------------------------------------------------------------------------------ encoding


def peer(model: str, tokens: int, pooling: str, normalize: bool, device: torch.device) -> SentenceTransformer:
    """Return the encoder ``model`` as sentence-transformers has it."""
    encoder = modules.Transformer(model, max_seq_length=tokens)
    parts = [encoder, modules.Pooling(encoder.get_embedding_dimension(), pooling)]
    return SentenceTransformer(modules=[*parts, *([modules.Normalize()] if normalize else [])], device=str(device))


def compare_encoders(model: str, corpus: Corpus, tokens: int, repeats: int) -> str:
    """Return a table of passages per second."""
    retriever = DenseRetrieval(DenseArguments(retriever_dir=model, passage_max_len=tokens))
    settings = retriever.bi_encoder.settings
    texts = [
        settings.passage_prefix + (titled(title, text) if settings.title_prefix else text)
        for title, text in zip(corpus.titles, corpus.texts, strict=True)
    ]

    def encode(encoder: SentenceTransformer, batch_size: int) -> np.ndarray:
        return encoder.encode(texts, batch_size=batch_size, convert_to_tensor=True).float().cpu().numpy()

    plain, bf16 = (
        peer(model, tokens, settings.pooling, settings.normalize, retriever.device).to(dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    ways: dict[str, Callable[[], np.ndarray]] = {
        f"ours, {retriever.precision}": lambda: retriever.encode_passages(corpus),
        "sentence-transformers, fp32, batch 32": lambda: encode(plain, 32),
        "sentence-transformers, bf16, batch 32": lambda: encode(bf16, 32),
    }
    found = {name: timed(way, repeats) for name, way in ways.items()}
    (ours, vectors), *_ = found.values()
    lines = ["| encoding | passages/s | ours is so many times as fast | lowest cosine |", "|---|---:|---:|---:|"]
    for name, (seconds, others) in found.items():
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)  # (N,)
        cosine = ((vectors * others).sum(axis=1) / lengths).min()
        lines.append(f"| {name} | {len(corpus) / seconds:.1f} | {seconds / ours:.2f} | {cosine:.4f} |")
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------------------- search


def made_vectors(size: int, width: int, questions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return passage vectors (size, width) and question vectors near some of them, all of length 1."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((size, width), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = vectors[rng.integers(size, size=questions)]
    asked += rng.standard_normal(asked.shape, np.float32) * 1.5 / np.sqrt(width)
    return vectors, asked / np.linalg.norm(asked, axis=1, keepdims=True)


def search_numpy(questions: np.ndarray, vectors: np.ndarray, k: int) -> SearchResults:
    """Search as one writes it: the whole product of some questions, then a partition."""
    parts = []
    for start in range(0, len(questions), _NUMPY_QUESTIONS):
        scores = questions[start : start + _NUMPY_QUESTIONS] @ vectors.T  # (q, H) @ (H, N)
        ids = np.argpartition(-scores, k - 1)[:, :k]  # (q, k)
        best = np.take_along_axis(scores, ids, axis=1)
        order = np.argsort(-best, axis=1)
        parts.append((np.take_along_axis(ids, order, axis=1), np.take_along_axis(best, order, axis=1)))
    return SearchResults(*(np.concatenate(part) for part in zip(*parts, strict=True)))  # (n, k) each


def search_again(questions: np.ndarray, kept: np.ndarray, vectors: np.ndarray, k: int, depth: int) -> SearchResults:
    """Return the ``k`` best by ``vectors`` among the ``k * depth`` best by ``kept``, the same in fewer bits.

    ``kept`` may be scaled, by one factor for all.
    """
    ids = np.sort(search_vectors(questions, [kept], k * depth, _CPU).ids, axis=1)  # (n, k * depth), rows ascending
    scores = np.einsum("nh,nch->nc", questions, vectors[ids])
    best = top_k(scores, k)
    return SearchResults(np.take_along_axis(ids, best.ids, axis=1), best.scores)


def compare_searches(size: int, arguments: argparse.Namespace) -> dict[str, tuple[float, float, float]]:
    """Return for every way the milliseconds per question, the MB of its vectors, and the overlap with the exact k."""
    faiss = import_optional("faiss", "faiss-cpu")
    faiss.omp_set_num_threads(torch.get_num_threads())
    vectors, questions = made_vectors(size, arguments.width, arguments.questions)
    k = min(arguments.k, size)
    flat = faiss.IndexFlatIP(arguments.width)
    flat.add(vectors)
    half = vectors.astype(np.float16)
    quarter = np.rint(vectors * (127 / np.abs(vectors).max())).astype(np.int8)
    ways: dict[str, tuple[int, Callable[[], SearchResults]]] = {
        "ours, float32": (vectors.nbytes, lambda: search_vectors(questions, [vectors], k, _CPU)),
        "ours, float16": (half.nbytes, lambda: search_vectors(questions, [half], k, _CPU)),
        "float16, scored again": (half.nbytes, lambda: search_again(questions, half, vectors, k, arguments.depth)),
        "int8, scored again": (quarter.nbytes, lambda: search_again(questions, quarter, vectors, k, arguments.depth)),
        "faiss, flat": (vectors.nbytes, lambda: SearchResults(*reversed(flat.search(questions, k)))),
        "numpy": (vectors.nbytes, lambda: search_numpy(questions, vectors, k)),
    }
    exact = search_vectors(questions, [vectors], k, _CPU).ids
    found = {}
    for name, (size_in_bytes, way) in ways.items():
        seconds, results = timed(way, arguments.repeats)
        overlap = np.mean([len({*one} & {*two}) for one, two in zip(results.ids, exact, strict=True)]) / k
        found[name] = (1000 * seconds / len(questions), size_in_bytes / 1e6, float(overlap))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    print(f"{machine()}; {torch.get_num_threads()} of torch's threads\n")
    if arguments.model:
        corpus = load_corpus(arguments.corpus).part(slice(arguments.encoded))
        print(compare_encoders(arguments.model, corpus, arguments.tokens, arguments.repeats) + "\n", flush=True)
    sizes = sorted(set(arguments.sizes))
    found = [compare_searches(size, arguments) for size in sizes]
    if found:
        header = " | ".join(f"{size:,}" for size in sizes)
        print(f"| search, milliseconds per question | {header} | exponent | overlap |")
        print(f"|---|{'---:|' * (len(sizes) + 2)}")
    for name in found[0] if found else ():
        milliseconds = [figures[name][0] for figures in found]
        cells = [
            f"{value:.2f} ({figures[name][1]:,.1f} MB)" for value, figures in zip(milliseconds, found, strict=True)
        ]
        overlap = min(figures[name][2] for figures in found)
        print(f"| {name} | {' | '.join(cells)} | {exponent(sizes, milliseconds):.2f} | {overlap:.1%} |")
    print(f"\n{machine()}")


if __name__ == "__main__":
    run_command(main)

"""Offsets: every character that can be seen belongs to a token, whatever the tokenizer leaves out."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest
from datasets import Dataset
from tokenizers import NormalizedString, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from loading.examples import example_features
from reading.answers import find_answers
from reading.arguments import AnswerArguments
from reading.features import make_features
from reading.metrics import mean_scores
from reading.offsets import complete, context_offsets
from reading.passages import gold_passages
from reading.predictions import predictions_of
from runtime.errors import UserError

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
TEXT = (
    "이곳의 큰 도시는 서울이다. 항구는 부산이다. KBS는 1927년에 문을 열었다. 世宗 大王은 '훈민정음'을 만들었다"
    "(1443년). 높이는 100㎝이고 Café Zoë 옆에 있다. 나랏말\u110a\u119e미 中國에 달아."
)


def _byte_level(*around: str) -> pre_tokenizers.PreTokenizer:
    steps = {
        "whitespace": pre_tokenizers.Whitespace(),
        "words": pre_tokenizers.WhitespaceSplit(),
        "digits": pre_tokenizers.Digits(individual_digits=True),
        "bytes": pre_tokenizers.ByteLevel(add_prefix_space=True),
        "punctuation": pre_tokenizers.Punctuation(),
    }
    return pre_tokenizers.Sequence([steps[name] for name in around])


PRE_TOKENIZERS = {
    "RobBERT": lambda: _byte_level("whitespace", "bytes", "punctuation"),
    "words of bytes": lambda: _byte_level("words", "bytes"),
    "digits of bytes": lambda: _byte_level("digits", "bytes"),
    "bytes": lambda: _byte_level("bytes"),
    "words": pre_tokenizers.Whitespace,
    "sentence pieces": pre_tokenizers.Metaspace,
    "punctuation is dropped": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("removed")]
    ),
}
NORMALIZERS = {
    "none": None,
    "NFKD": normalizers.NFKD(),
    "accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "lower case": normalizers.BertNormalizer(lowercase=True),
    "shorter": normalizers.Replace("도시", "都"),
    "longer": normalizers.Replace("큰", "아주 큰"),
    "nothing but letters": normalizers.Replace(Regex(r"[^\w\s]"), ""),
}


def _tokenizer(pre: str, norm: str, unknown: bool = True) -> PreTrainedTokenizerFast:
    """Byte pairs learnt from the beginning of the text; without ``unknown``, what they lack is dropped."""
    backend = Tokenizer(models.BPE(unk_token="<unk>" if unknown else None))
    if NORMALIZERS[norm] is not None:
        backend.normalizer = NORMALIZERS[norm]
    backend.pre_tokenizer = PRE_TOKENIZERS[pre]()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if "bytes" in pre or pre == "RobBERT" else []
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([TEXT[:60]] * 3, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    return _fast(backend)


def _fast(backend: Tokenizer) -> PreTrainedTokenizerFast:
    names = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **names, model_max_length=4096, model_input_names=["input_ids", "attention_mask"]
    )


def _examples(answers: list[tuple[str, int]], context: str = TEXT) -> Dataset:
    rows = [
        {
            "id": str(number), "title": "", "question": "무엇인가?", "context": context, "document_id": "",
            "answers": {"text": [text], "answer_start": [start]},
        }
        for number, (text, start) in enumerate(answers)
    ]  # fmt: skip
    return Dataset.from_list(rows, features=example_features())


def _answers(context: str = TEXT) -> list[tuple[str, int]]:
    """Every word, without its last character too, and some pairs of words."""
    words = [(match.group(), match.start()) for match in re.finditer(r"\S+", context)]
    shorter = [(word[:-1], start) for word, start in words if len(word) > 1]
    pairs = [(context[a[1] : b[1] + len(b[0])], a[1]) for a, b in itertools.pairwise(words)]
    return words + shorter + random.Random(0).sample(pairs, 5)


def _make(tokenizer: PreTrainedTokenizerFast, examples: Dataset, max_seq_len: int = 2048, stride_len: int = 16) -> dict:
    return make_features(examples.to_dict(), range(len(examples)), tokenizer, max_seq_len, stride_len).to_pydict()


@pytest.mark.parametrize("unknown", [True, False], ids=["unknown token", "no unknown token"])
@pytest.mark.parametrize("norm", NORMALIZERS)
@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_labels_hold_the_answer_with_any_tokenizer(pre: str, norm: str, unknown: bool) -> None:
    answers = _answers()
    features = _make(_tokenizer(pre, norm, unknown), _examples(answers))
    assert features["example_index"] == list(range(len(answers)))  # one window each
    for row, (text, _) in enumerate(answers):
        offsets = features["offset_mapping"][row]
        first, last = features["start_positions"][row], features["end_positions"][row]
        assert text in TEXT[offsets[first][0] : offsets[last][1]]


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_windows_give_a_token_the_offsets_it_has_in_the_whole_text(pre: str) -> None:
    tokenizer, text = _tokenizer(pre, "shorter", unknown=False), " ".join([TEXT] * 6)
    examples = _examples([("서울", text.index("서울"))], text)
    (whole,) = _make(tokenizer, examples)["offset_mapping"]
    windows = _make(tokenizer, examples, max_seq_len=40, stride_len=7)["offset_mapping"]
    assert len(windows) > 2
    inside = [[span for span in window if span] for window in windows]
    assert inside[0] + [span for window in inside[1:] for span in window[7:]] == [span for span in whole if span]


def _perfect_answers(tokenizer: PreTrainedTokenizerFast, examples: Dataset) -> dict[str, str]:
    """What is read off the logits of a reader that is sure of the label tokens."""
    columns = _make(tokenizer, examples)
    features = Dataset.from_dict({name: columns[name] for name in ("example_index", "offset_mapping", "cls_index")})
    logits = np.full((2, len(features), max(map(len, columns["offset_mapping"]))), -9.0, dtype=np.float32)
    for number, name in enumerate(("start_positions", "end_positions")):
        logits[number, np.arange(len(features)), columns[name]] = 9
    settings = AnswerArguments(max_ans_len=400, n_best_size=5, postprocess="none")
    return predictions_of(find_answers(gold_passages(examples), features, tuple(logits), settings))


def test_answers_are_read_off_with_the_letters_that_labels_have() -> None:
    words = ["큰", "도시는", "서울이다", "KBS는", "世宗"]
    examples = _examples([(word, TEXT.index(word)) for word in words])
    for pre in ("RobBERT", "words of bytes"):
        assert list(_perfect_answers(_tokenizer(pre, "none"), examples).values()) == words


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u200e", "\u00ad", "\x07", "\u3164", " \u200b\n"])
@pytest.mark.parametrize("name", ["bert_tokenizer", "roberta_tokenizer", "bytes"])
def test_a_perfect_reader_is_right_about_answers_with_invisible_edges(
    mark: str, name: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = _tokenizer("bytes", "none") if name == "bytes" else request.getfixturevalue(name)
    context = f"세종은 {mark}1443년{mark} 훈민정음을 만들었다. {mark}세종{mark}"
    answers = [f"{mark}1443년{mark}", f"1443년{mark}", f"{mark}세종{mark}"]
    examples = _examples([(answer, context.index(answer)) for answer in answers], context)
    read = _perfect_answers(tokenizer, examples)
    assert list(read.values()) == ["1443년", "1443년", "세종"]
    metrics = mean_scores(read, {str(number): [answer] for number, answer in enumerate(answers)})
    assert set(metrics.values()) == {100.0}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 2), (3, 5), (5, 6)], [(0, 2), (3, 5), (5, 6)]),  # as they are: "가나 다라."
        ([(0, 2), (4, 5), (5, 6)], [(0, 2), (3, 5), (5, 6)]),  # the first letter of a word
        ([(0, 1), (3, 5), (5, 6)], [(0, 2), (3, 5), (5, 6)]),  # its last
        ([(0, 1), (4, 5), (5, 6)], [(0, 2), (3, 5), (5, 6)]),  # both at once
        ([(1, 2), (3, 4)], [(0, 2), (3, 6)]),  # at the ends of the text
        ([(0, 2), (6, 6)], [(0, 2), (3, 6)]),  # a word whose token is empty
        ([(0, 1), (1, 2), (5, 5), (4, 5), (5, 6)], [(0, 1), (1, 2), (3, 5), (4, 5), (5, 6)]),
        ([(0, 2), (2, 5), (3, 4), (5, 6)], [(0, 2), (2, 5), (3, 5), (5, 6)]),
        ([], []),
    ],
)
def test_what_is_left_out_goes_to_the_token_beside_it(spans: list, expected: list) -> None:
    assert complete(spans, "가나 다라.") == expected
    starts, ends = context_offsets([spans, [], spans], ["가나 다라.", "", "가나 다라."], "some/model")
    assert list(zip(starts, ends, strict=True)) == 2 * expected


def test_a_tokenizer_that_does_not_know_its_places_is_refused(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    class Anew:
        """Cuts words out as texts of their own, whose places begin at 0 again."""

        def pre_tokenize(self, text) -> None:
            text.split(lambda _, part: [NormalizedString(word) for word in str(part).split()])

    tokenizer = _tokenizer("words", "none")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Anew())
    tokenizer.name_or_path = "some/model"
    context = "왕은 물을 본다. " * 60
    with pytest.raises(UserError, match="the tokenizer of some/model does not say where in the text its tokens are"):
        _make(tokenizer, _examples([("물", context.index("물"))], context))
    _make(bert_tokenizer, _examples([("물", context.index("물"))], context), max_seq_len=128)

"""A context with several gold answers, and its features."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from reading.features import make_features

CONTEXT = (
    "세종은 조선의 왕이다. 그는 1443년에 훈민정음을 만들었다. 장영실은 그의 명으로 자격루를 만들었다. "
    "거북선은 이순신이 만든 배이다. 1443년은 조선 초기이다."
)


def features_of(
    tokenizer: PreTrainedTokenizerFast, answers: list[str | tuple[str, int]], max_seq_len: int = 128
) -> dict:
    found = [(answer, CONTEXT.index(answer)) if isinstance(answer, str) else answer for answer in answers]
    examples = {
        "question": ["언제인가?"],
        "context": [CONTEXT],
        "answers": [{"text": [text for text, _ in found], "answer_start": [start for _, start in found]}],
    }
    return make_features(examples, [0], tokenizer, max_seq_len, 8).to_pydict()


SECOND = ("1443년", CONTEXT.rindex("1443년"))

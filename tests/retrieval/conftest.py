"""Twelve passages, for every test of retrieval."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from elastic_stub import ElasticStub
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from loading.corpus import Corpus
from models.arguments import EncoderArguments
from models.token_encoder import load_token_encoder_to_train, save_token_encoder

PASSAGES = [
    ("왕", "왕은 나라를 다스리는 사람으로, 조선에서는 스물일곱 명이 차례로 자리에 올랐다."),
    ("세종대왕", "세종은 훈민정음을 만들어 백성이 글을 쉽게 익히게 하였고 측우기로 비의 양을 쟀다."),
    ("한강", "한강은 태백에서 시작하여 서울을 지나 서해로 흘러드는 강이다."),
    ("백두산", "백두산 꼭대기에는 천지라는 호수가 있으며 높이는 2744미터이다."),
    ("김치", "김치는 배추와 무를 소금에 절여 고춧가루와 마늘로 버무려 삭힌 음식이다."),
    ("거북선", "거북선은 이순신이 임진왜란 때 바다에서 쓴 배로 등에 쇠못을 꽂았다."),
    ("달", "달은 지구를 도는 위성으로 밀물과 썰물을 일으킨다."),
    ("광합성", "식물은 햇빛과 물과 이산화탄소로 양분을 만드는데 이를 광합성이라 한다."),
    ("제주도", "제주도는 화산이 터져 생긴 섬으로 한라산과 돌하르방이 이름나 있다."),
    ("판소리", "판소리는 소리꾼과 고수가 북 장단에 맞추어 긴 이야기를 들려주는 음악이다."),
    ("DNA", "DNA는 이중 나선 모양으로 유전 정보를 담고 있는 분자이다."),
    ("", "제목이 없는 이 글은 첨성대에서 별을 바라보던 신라 사람들을 다룬다."),
]
_WORDS = [*"왕강산달배물글별섬북", "조선", "고려", "신라", "서울", "한글", "김치", "바다", "하늘", "소리", "과학"]


@pytest.fixture
def corpus() -> Corpus:
    return Corpus([str(100 + row) for row in range(len(PASSAGES))], *map(list, zip(*PASSAGES, strict=True)))


@pytest.fixture
def random_corpus() -> Corpus:
    """Fifty passages of 1 to 30 random words, the last five the words of others in another order."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(_WORDS, k=rng.randint(1, 30))) for _ in range(45)]
    texts += [" ".join(reversed(text.split())) for text in texts[:5]]
    return Corpus([str(row) for row in range(50)], [""] * 50, texts)


@pytest.fixture
def questions() -> list[str]:
    """Random words, some repeated and some in no passage; then only unknown words, and nothing at all."""
    rng = random.Random(1)
    return [" ".join(rng.choices([*_WORDS, "우주선"], k=rng.randint(1, 8))) for _ in range(30)] + ["로봇 우주선", ""]


@pytest.fixture(scope="session")
def bag_of_characters(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an encoder that only counts characters: no layers, and a direction of its own for each of them.

    With mean pooling its inner products are those of character counts, so that what it finds can be reasoned about.
    """
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *sorted({c for passage in PASSAGES for c in "".join(passage)} - {" "}),
    ]
    backend = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Replace(" ", "")
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=len(pieces),
        num_hidden_layers=0,
        num_attention_heads=1,
        intermediate_size=1,
        max_position_embeddings=64,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for table in (model.embeddings.position_embeddings, model.embeddings.token_type_embeddings):
            table.weight.zero_()
        model.embeddings.word_embeddings.weight.copy_(torch.eye(len(pieces)))
        model.embeddings.word_embeddings.weight[:4] = 0  # the layer norm leaves a vector of zeros as it is
    folder = tmp_path_factory.mktemp("bag_of_characters")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def sparse_characters(bag_of_characters: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a sparse encoder that weighs every character of a text by how often it is there."""
    from sentence_transformers import SparseEncoder  # which takes seconds
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    tokenizer, encoder = AutoTokenizer.from_pretrained(bag_of_characters), BertModel.from_pretrained(bag_of_characters)
    config = encoder.config
    config.hidden_act = "relu"
    model = BertForMaskedLM(config)
    model.bert.load_state_dict(encoder.state_dict(), strict=False)
    with torch.no_grad():
        model.cls.predictions.transform.dense.weight.copy_(torch.eye(config.hidden_size))
        model.cls.predictions.transform.dense.bias.zero_()
    source = tmp_path_factory.mktemp("masked_characters")
    model.save_pretrained(source)
    tokenizer.save_pretrained(source)
    modules = [Transformer(str(source), transformer_task="fill-mask"), SpladePooling("sum")]
    folder = tmp_path_factory.mktemp("sparse_characters")
    SparseEncoder(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return str(folder)


@pytest.fixture(scope="session")
def characters_in_place(bag_of_characters: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a multi-vector encoder whose tokens match by their character and, as much, by their place.

    So that a title finds the passage that begins with it, and nothing does as well.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bag_of_characters)
    size, places = len(tokenizer), 64
    config = BertConfig(
        vocab_size=size,
        hidden_size=size + places,
        num_hidden_layers=0,
        num_attention_heads=1,
        intermediate_size=1,
        max_position_embeddings=places,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.embeddings.parameters():
            if parameter.ndim == 2:
                parameter.zero_()
        model.embeddings.word_embeddings.weight[:, :size] = torch.eye(size)
        model.embeddings.position_embeddings.weight[:, size:] = torch.eye(places)
    folder = tmp_path_factory.mktemp("characters_in_place")
    model.save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    flags = EncoderArguments(question_max_len=places, passage_max_len=places)
    encoder = load_token_encoder_to_train(folder / "encoder", flags, size + places, None)
    with torch.no_grad():
        encoder.model[1].linear.weight.copy_(torch.eye(size + places))
        encoder.p_encoder.embeddings.word_embeddings.weight[size:] = 0  # the markers
    save_token_encoder(encoder, folder)
    return str(folder)


@pytest.fixture
def elastic_stub(monkeypatch: pytest.MonkeyPatch):
    """What stands for an Elasticsearch server, and an environment without credentials for another."""
    for name in ("ELASTIC_API_KEY", "ELASTIC_USER", "ELASTIC_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with ElasticStub() as stub:
        yield stub


@pytest.fixture
def milvus_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an embedded Milvus may be; its server, threads of this process, is stopped at the end."""
    from milvus_lite.server_manager import server_manager_instance

    path = str(tmp_path_factory.mktemp("milvus") / "new" / "milvus.db")
    yield path
    server_manager_instance.release_server(path)

"""A T5 base through the CLI and real processes: texts equal transformers', alone, with an adapter, streamed, summarized, refused."""

import json
import os
import pathlib

import pytest
import tiny
from tenon_process import ROOT

torch = pytest.importorskip("torch")

SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
VOCABULARY = SHARED / "data/tokenizers/t5_tokenizer.json"
pytestmark = pytest.mark.skipif(not VOCABULARY.exists(), reason="../shared is not there")

TEXTS = [
    "The heating in room 214 does not work.",
    "Our train to the coast leaves at seven in the morning, so pack tonight.",
    "Wo ist mein Paket?",
    "A label is checked against the list of depots before it is printed.",
]


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    return folder, *tiny.make_t5(folder, VOCABULARY)


@pytest.fixture(scope="module")
def adapter(peer, tmp_path_factory):
    """A LoRA adapter of PEFT's with weights that matter: its folder, and its model."""
    from peft import LoraConfig, get_peft_model
    from transformers import T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("adapter")
    model = get_peft_model(T5ForConditionalGeneration.from_pretrained(peer[0]),
                           LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=8, target_modules=["q", "v"])).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module", autouse=True)
def base(tenon, cluster, peer, minilm):
    tenon.text("bases", "add", "t5", peer[0])
    tenon.text("bases", "add", "minilm", minilm)
    cluster.wait_for_worker()


@pytest.fixture(scope="module", autouse=True)
def imported(tenon, base, adapter):
    tenon.text("adapters", "import", adapter[0], "--id", "tone", "--base", "t5")


def expected(model, tokenizer, texts, **options):
    written = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            written.append(tokenizer.batch_decode(model.generate(input_ids=ids, **options), skip_special_tokens=True))
    return written


def texts_of(lines):
    return [[output["text"] for output in line["outputs"]] for line in lines]


def test_greedy_texts_equal_transformers(tenon, peer):
    lines = tenon.lines("generate", "--base", "t5", "--max-new-tokens", "12", *TEXTS)
    assert texts_of(lines) == expected(*peer[1:], TEXTS, max_new_tokens=12)
    for line, text in zip(lines, TEXTS):
        assert line["model"]["base"] == "bases/t5" and line["model"]["adapter"] == ""
        assert int(line["usage"]["inputTokens"]) == len(peer[2](text).input_ids)
        assert int(line["usage"]["outputTokens"]) > 0


def test_beams_equal_transformers(tenon, peer):
    lines = tenon.lines("generate", "--base", "t5", "--max-new-tokens", "10", "--num-beams", "4", "--num-return-sequences", "2", *TEXTS)
    assert texts_of(lines) == expected(*peer[1:], TEXTS, max_new_tokens=10, num_beams=4, num_return_sequences=2)


def test_an_adapter_of_peft(tenon, peer, adapter):
    lines = tenon.lines("generate", "--adapter", "tone", "--max-new-tokens", "12", *TEXTS)
    theirs = expected(adapter[1], peer[2], TEXTS, max_new_tokens=12)
    assert texts_of(lines) == theirs
    assert theirs != expected(*peer[1:], TEXTS, max_new_tokens=12), "the adapter changes nothing"
    assert {line["model"]["adapter"] for line in lines} == {"adapters/tone"}


def test_a_stream_is_the_same_text(tenon, peer):
    streamed = tenon.text("generate", "--base", "t5", "--max-new-tokens", "12", "--stream", TEXTS[1])
    assert streamed.strip() == expected(*peer[1:], TEXTS[1:2], max_new_tokens=12)[0][0].strip()


def test_sampling_repeats_itself_by_its_seed(tenon):
    draw = lambda seed: texts_of(tenon.lines("generate", "--base", "t5", "--max-new-tokens", "8", "--do-sample", "--seed", seed, *TEXTS))
    assert draw("3") == draw("3") != draw("4")


def test_a_base_that_writes_summarizes_in_its_own_words(tenon, peer):
    lines = tenon.lines("summarize", "--base", "t5", "--max-new-tokens", "10", *TEXTS)
    theirs = expected(*peer[1:], [f"summarize: {text}" for text in TEXTS], max_new_tokens=10)
    assert [[line["summary"]] for line in lines] == theirs
    assert {line["kind"] for line in lines} == {"ABSTRACTIVE"}


@pytest.mark.parametrize("command, reason, field", [
    (["generate", "--base", "minilm", "a"], "NOT_GENERATIVE", "base"),
    (["embed", "--base", "t5", "a"], "UNSUPPORTED", "base"),
    (["generate", "--base", "t5", "--num-beams", "2", "--num-return-sequences", "3", "a"], "FIELD_INVALID",
     "generation.num_return_sequences"),
    (["generate", "--base", "t5", "--num-return-sequences", "2", "a"], "FIELD_INVALID", "generation.num_return_sequences"),
    (["generate", "--base", "t5", "--max-new-tokens", "0", "a"], "FIELD_INVALID", "generation.max_new_tokens"),
    (["generate", "--base", "t5", "--num-beams", "2", "--do-sample", "a"], "UNSUPPORTED", "generation.do_sample"),
    (["generate", "--base", "t5", "--max-new-tokens", "3", "--min-new-tokens", "5", "a"], "FIELD_INVALID", None),
])
def test_what_cannot_be_is_refused_by_name(tenon, command, reason, field):
    _, error = tenon.error(*command)
    assert error["reason"] == reason, error
    if field is not None:
        assert field in json.dumps(error), error
    # The worker is as it was.
    assert tenon.lines("generate", "--base", "t5", "--max-new-tokens", "2", "a")

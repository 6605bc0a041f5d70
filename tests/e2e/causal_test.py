"""A GPT-2 base through the CLI and real processes: texts equal transformers', alone, with a LoRA, with a prompt, streamed, refused."""

import json
import os
import pathlib

import pytest
import tiny
from tenon_process import ROOT

torch = pytest.importorskip("torch")

SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
VOCABULARY = SHARED / "data/tokenizers/gpt2_vocab.json"
MERGES = SHARED / "data/tokenizers/gpt2_merges.txt"
pytestmark = pytest.mark.skipif(not VOCABULARY.exists(), reason="../shared is not there")

TEXTS = [
    "The heating in room 214 does not work, so",
    "Our train to the coast leaves at seven in the morning",
    "Wo ist mein Paket?",
    "A",
]


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    return folder, *tiny.make_gpt2(folder, VOCABULARY, MERGES)


def of_peft(peer, folder, config, part, spread):
    """An adapter of PEFT's whose weights matter: its folder, and its model."""
    from peft import get_peft_model
    from transformers import GPT2LMHeadModel

    model = get_peft_model(GPT2LMHeadModel.from_pretrained(peer[0]), config).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part in name:
                parameter.normal_(0, spread)
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def lora(peer, tmp_path_factory):
    from peft import LoraConfig

    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, fan_in_fan_out=True)
    return of_peft(peer, tmp_path_factory.mktemp("lora"), config, "lora_B", 0.5)


@pytest.fixture(scope="module")
def prompt(peer, tmp_path_factory):
    from peft import PromptTuningConfig

    return of_peft(peer, tmp_path_factory.mktemp("prompt"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=8), "prompt", 0.7)


@pytest.fixture(scope="module", autouse=True)
def base(tenon, cluster, peer, lora, prompt):
    tenon.text("bases", "add", "gpt2", peer[0])
    cluster.wait_for_worker()
    tenon.text("adapters", "import", lora[0], "--id", "tone", "--base", "gpt2")
    tenon.text("adapters", "import", prompt[0], "--id", "hint", "--base", "gpt2")


def expected(model, tokenizer, texts, **options):
    written = []
    for text in texts:
        given = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            rows = model.generate(input_ids=given.input_ids, attention_mask=given.attention_mask, pad_token_id=50256, **options)
        written.append(tokenizer.batch_decode(rows[:, given.input_ids.shape[1]:], skip_special_tokens=True))
    return written


def texts_of(lines):
    return [[output["text"] for output in line["outputs"]] for line in lines]


def test_greedy_texts_equal_transformers(tenon, peer):
    lines = tenon.lines("generate", "--base", "gpt2", "--max-new-tokens", "12", *TEXTS)
    assert texts_of(lines) == expected(*peer[1:], TEXTS, max_new_tokens=12, do_sample=False)
    for line, text in zip(lines, TEXTS):
        assert line["model"]["base"] == "bases/gpt2"
        assert int(line["usage"]["inputTokens"]) == len(peer[2](text).input_ids)
        assert 0 < int(line["usage"]["outputTokens"]) <= 12


def test_beams_and_rules_see_the_prompt(tenon, peer):
    flags = ("--num-beams", "4", "--no-repeat-ngram-size", "2", "--repetition-penalty", "1.3")
    lines = tenon.lines("generate", "--base", "gpt2", "--max-new-tokens", "10", *flags, *TEXTS)
    assert texts_of(lines) == expected(*peer[1:], TEXTS, max_new_tokens=10, do_sample=False, num_beams=4, no_repeat_ngram_size=2,
                                       repetition_penalty=1.3)


@pytest.mark.parametrize("name", ["tone", "hint"])
def test_an_adapter_of_peft(tenon, peer, lora, prompt, name):
    model = {"tone": lora, "hint": prompt}[name][1]
    lines = tenon.lines("generate", "--adapter", name, "--max-new-tokens", "12", *TEXTS)
    theirs = expected(model, peer[2], TEXTS, max_new_tokens=12, do_sample=False)
    assert texts_of(lines) == theirs
    assert theirs != expected(*peer[1:], TEXTS, max_new_tokens=12, do_sample=False), "the adapter changes nothing"
    assert {line["model"]["adapter"] for line in lines} == {f"adapters/{name}"}


def test_a_stream_is_the_same_text(tenon, peer):
    streamed = tenon.text("generate", "--base", "gpt2", "--max-new-tokens", "12", "--stream", TEXTS[1])
    assert streamed.strip() == expected(*peer[1:], TEXTS[1:2], max_new_tokens=12, do_sample=False)[0][0].strip()


def test_what_it_is_for_is_said(tenon):
    assert tenon.json("bases", "list")["bases"][0]["tasks"] == ["TASK_CAUSAL_LM"]
    assert {one["task"] for one in tenon.json("adapters", "list")["adapters"]} == {"TASK_CAUSAL_LM"}


def refused(tenon, reason, field, *command):
    _, error = tenon.error(*command)
    assert error["reason"] == reason, error
    assert field in json.dumps(error), error


def test_what_cannot_be_is_refused_by_name(tenon, tmp_path):
    refused(tenon, "FIELD_INVALID", "row 2", "generate", "--base", "gpt2", "a", "word " * 200)
    refused(tenon, "FIELD_INVALID", "generation.max_new_tokens", "generate", "--base", "gpt2", "--max-new-tokens", "96", "a")
    refused(tenon, "UNSUPPORTED", "base", "summarize", "--base", "gpt2", "a")
    refused(tenon, "UNSUPPORTED", "base", "embed", "--base", "gpt2", "a")
    refused(tenon, "UNSUPPORTED", "merged", "adapters", "export", "tone", tmp_path / "merged", "--merged")
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", [{"input": "a", "target": "b"}] * 4)
    refused(tenon, "UNSUPPORTED", "finetune_job.base", "jobs", "finetune", "--base", "gpt2", "--adapter", "more", "--task", "seq2seq", "--method",
            "lora", "--train", rows)
    # The worker is as it was.
    assert tenon.lines("generate", "--base", "gpt2", "--max-new-tokens", "2", "a")


def test_an_adapter_comes_back_as_it_was(tenon, peer, lora, tmp_path):
    from peft import PeftModel
    from transformers import GPT2LMHeadModel

    tenon.text("adapters", "export", "tone", tmp_path / "tone")
    model = PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(peer[0]), tmp_path / "tone").eval()
    assert expected(model, peer[2], TEXTS[:1], max_new_tokens=6, do_sample=False) == expected(lora[1], peer[2], TEXTS[:1], max_new_tokens=6,
                                                                                             do_sample=False)

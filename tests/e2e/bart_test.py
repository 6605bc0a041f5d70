"""A BART base through the CLI and real processes: texts equal transformers', alone, with PEFT's adapters, summarized, merged, refused."""

import json

import pytest
import tiny

torch = pytest.importorskip("torch")

TEXTS = [
    "The heating in room 214 does not work.",
    "Our train to the coast leaves at seven in the morning.",
    "Wo ist mein Paket?",
    "Tea.",
]
LONG = " ".join(TEXTS)


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bart")
    return folder, *tiny.make_bart(folder)


def tuned(peer, folder, config):
    """An adapter of PEFT's with weights that matter: its folder, and its model."""
    from peft import get_peft_model
    from transformers import BartForConditionalGeneration

    model = get_peft_model(BartForConditionalGeneration.from_pretrained(peer[0]), config).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "prompt_encoder" in name:
                parameter.normal_(0, 0.4)
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def lora(peer, tmp_path_factory):
    from peft import LoraConfig

    return tuned(peer, tmp_path_factory.mktemp("lora"), LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=8))


@pytest.fixture(scope="module")
def prompt(peer, tmp_path_factory):
    from peft import PromptTuningConfig

    return tuned(peer, tmp_path_factory.mktemp("prompt"), PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=6))


@pytest.fixture(scope="module", autouse=True)
def base(tenon, cluster, peer, lora, prompt):
    tenon.text("bases", "add", "bart", peer[0])
    cluster.wait_for_worker()
    tenon.text("adapters", "import", lora[0], "--id", "tone", "--base", "bart")
    tenon.text("adapters", "import", prompt[0], "--id", "hint", "--base", "bart")


def expected(model, tokenizer, texts, **options):
    written = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=80).input_ids
        with torch.no_grad():
            written.append(tokenizer.batch_decode(model.generate(input_ids=ids, **options), skip_special_tokens=True))
    return written


def texts_of(lines):
    return [[output["text"] for output in line["outputs"]] for line in lines]


def test_the_bases_own_search_equals_transformers(tenon, peer):
    """Beams, trigrams, a forced first and last token, as generation_config.json says."""
    lines = tenon.lines("generate", "--base", "bart", *TEXTS)
    assert texts_of(lines) == expected(*peer[1:], TEXTS)
    for line, text in zip(lines, TEXTS):
        assert line["model"]["base"] == "bases/bart" and line["model"]["adapter"] == ""
        assert int(line["usage"]["inputTokens"]) == len(peer[2](text).input_ids)


def test_greedy_and_streamed(tenon, peer):
    theirs = expected(*peer[1:], TEXTS, num_beams=1, max_length=20)
    lines = tenon.lines("generate", "--base", "bart", "--num-beams", "1", "--max-length", "20", *TEXTS)
    assert texts_of(lines) == theirs
    streamed = tenon.text("generate", "--base", "bart", "--num-beams", "1", "--max-length", "20", "--stream", TEXTS[1])
    assert streamed.strip() == theirs[1][0].strip()


@pytest.mark.parametrize("name", ["tone", "hint"])
def test_adapters_of_peft(tenon, peer, lora, prompt, name):
    lines = tenon.lines("generate", "--adapter", name, *TEXTS)
    theirs = expected({"tone": lora, "hint": prompt}[name][1], peer[2], TEXTS)
    assert texts_of(lines) == theirs
    assert theirs != expected(*peer[1:], TEXTS), "the adapter changes nothing"
    assert {line["model"]["adapter"] for line in lines} == {f"adapters/{name}"}


def test_it_summarizes_a_text_as_it_stands(tenon, peer, lora):
    lines = tenon.lines("summarize", "--base", "bart", *TEXTS)
    assert [[line["summary"]] for line in lines] == expected(*peer[1:], TEXTS)
    assert {line["kind"] for line in lines} == {"ABSTRACTIVE"}
    lines = tenon.lines("summarize", "--adapter", "tone", *TEXTS)
    assert [[line["summary"]] for line in lines] == expected(lora[1], peer[2], TEXTS)


def test_a_text_beyond_its_positions_is_cut_and_said_to_be(tenon, peer):
    line = tenon.json("generate", "--base", "bart", LONG)
    assert line["truncated"] and line["usage"]["inputTokens"] == "80"
    assert texts_of([line]) == expected(*peer[1:], [LONG])
    line = tenon.json("generate", "--adapter", "hint", "--max-input-tokens", "500", LONG)
    assert line["truncated"] and line["usage"]["inputTokens"] == "74"
    assert tenon.json("summarize", "--base", "bart", "--combine-chunks", LONG)["summary"]


def test_a_merged_lora_is_a_model_of_its_own(tenon, peer, lora, tmp_path):
    from transformers import BartForConditionalGeneration

    tenon.text("adapters", "export", "tone", tmp_path / "merged", "--merged")
    merged = BartForConditionalGeneration.from_pretrained(tmp_path / "merged").eval()
    assert expected(merged, peer[2], TEXTS) == expected(lora[1], peer[2], TEXTS)


def test_it_is_not_trained(tenon, tmp_path):
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", [{"input": "a b", "target": "b"}] * 4)
    _, error = tenon.error("jobs", "finetune", "--base", "bart", "--adapter", "mine", "--task", "seq2seq", "--method", "lora", "--train", rows,
                           "--input-template", "{input}", "--target-template", "{target}")
    assert error["reason"] == "UNSUPPORTED" and error["field"] == "finetune_job.base", error


@pytest.mark.parametrize("command, reason, field", [
    (["embed", "--base", "bart", "a"], "UNSUPPORTED", "base"),
    (["generate", "--base", "bart", "--max-length", "81", "a"], "FIELD_INVALID", "generation.max_length"),
])
def test_what_cannot_be_is_refused_by_name(tenon, command, reason, field):
    _, error = tenon.error(*command)
    assert error["reason"] == reason and field in json.dumps(error), error


def test_a_config_that_is_not_supported_is_named(tenon, peer, tmp_path):
    for file in peer[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "activation_function": "silu"}))
    _, error = tenon.error("bases", "add", "other", tmp_path)
    assert error["reason"] == "UNSUPPORTED" and error["field"] == "activation_function", error

"""A merged copy through the CLI: a LoRA and its base in one folder, which is a base, opens in transformers, and answers as the adapter."""

import json

import pytest
import tiny

LABELS = sorted(tiny.WORDS)
TEXTS = ["where is the parcel and the courier", "i forgot my password and cannot login", "the invoice has a wrong price"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "train.jsonl", tiny.toy_rows(120, seed=1))


@pytest.fixture(scope="module", autouse=True)
def base(tenon, tiny_base):
    return tenon.json("bases", "add", "tiny", tiny_base)


def finetune(tenon, data, name, method, *more):
    return tenon.json("jobs", "finetune", "--base", "tiny", "--adapter", name, "--task", "sequence_classification", "--method", method,
                      "--train", data, "--set", "epochs=3", "--set", "learning_rate=1e-2", "--set", "seed=7", *more, "--wait")


@pytest.fixture(scope="module")
def merged(tenon, data, tmp_path_factory):
    finetune(tenon, data, "topics", "lora")
    folder = tmp_path_factory.mktemp("merged") / "topics"
    files = tenon.json("adapters", "export", "topics", folder, "--merged")["files"]
    assert {"config.json", "model.safetensors"} <= set(files) and "adapter_config.json" not in files
    return folder


def scores(row):
    return {c["label"]: c["score"] for c in row["classes"]}


def test_it_is_a_base_that_answers_as_the_adapter(tenon, merged, tiny_base):
    tenon.json("bases", "add", "merged", merged)
    for text in TEXTS:
        adapter, base = tenon.json("classify", "--adapter", "topics", text), tenon.json("classify", "--base", "merged", text)
        assert base["model"]["base"] == "bases/merged" and base["label"] == adapter["label"]
        ours, theirs = scores(base), scores(adapter)
        assert set(ours) == set(theirs) == set(LABELS)
        assert max(abs(ours[label] - theirs[label]) for label in LABELS) < 1e-5
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (merged / file).read_bytes() == (tiny_base / file).read_bytes()


def test_transformers_opens_it(tenon, merged):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(merged).eval(), AutoTokenizer.from_pretrained(merged)
    for text in TEXTS:
        with torch.no_grad():
            shares = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        ours = scores(tenon.json("classify", "--adapter", "topics", text))
        assert all(abs(ours[model.config.id2label[i]] - share) < 1e-4 for i, share in enumerate(shares))


@pytest.mark.parametrize("method, why", [("prompt_tuning", "changes no weight"), ("bottleneck", "layers of their own"),
                                         ("head", "pooled sentence vectors")])
def test_what_cannot_be_merged_says_why(tenon, data, tmp_path, method, why):
    name = method.replace("_", "-")
    finetune(tenon, data, name, method, "--set", "max_steps=2")
    error = tenon.error("adapters", "export", name, tmp_path / "out", "--merged")[1]
    assert error["reason"] == "UNSUPPORTED" and why in json.dumps(error)
    assert not (tmp_path / "out").exists()
    assert tenon.json("adapters", "export", name, tmp_path / "out")["files"]

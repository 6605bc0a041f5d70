"""Soft prompts and bottlenecks through the CLI: a job of each, answers, files that others open, and files that come back."""

import json

import pytest
from conftest import EXAMPLES

TICKETS = EXAMPLES / "tickets"
LABELS = ["account", "billing", "delivery", "returns", "technical"]
METHODS = {
    "prompt_tuning": (["num_virtual_tokens=10", "init=text", "init_text=which help does this customer need", "learning_rate=1e-2",
                       "max_input_tokens=502"], 10 * 384),
    "bottleneck": (["layout=double_seq_bn", "reduction_factor=32", "learning_rate=5e-3"], 12 * (2 * 12 * 384 + 12 + 384)),
}


@pytest.fixture(scope="module", autouse=True)
def base(tenon, minilm):
    return tenon.json("bases", "add", "minilm", minilm)


@pytest.fixture(scope="module", params=METHODS)
def job(tenon, base, request):
    options = [word for option in METHODS[request.param][0] for word in ("--set", option)]
    return tenon.json("jobs", "finetune", "--base", "minilm", "--adapter", request.param.replace("_", "-"), "--task", "sequence_classification",
                      "--method", request.param, "--train", TICKETS / "train.jsonl", "--validation", TICKETS / "validation.jsonl",
                      "--set", "epochs=6", "--set", "warmup_ratio=0.1", "--set", "seed=7", *options, "--wait")


def test_it_learns_and_answers(tenon, job):
    result = job["result"]
    untrained, best = ({m["name"]: m["value"] for m in result[stage]}["accuracy"] for stage in ("untrained", "best"))
    assert best > untrained + 0.2
    method = job["method"].removeprefix("METHOD_").lower()
    assert int(result["trainableParameters"]) == METHODS[method][1] + 5 * 385
    row = tenon.json("classify", "--adapter", job["adapter"].split("/")[1], "Where is my parcel?")
    assert row["label"] in LABELS and abs(sum(c["score"] for c in row["classes"]) - 1) < 1e-5
    # Of the base's 512 positions the prompt leaves 502, which this text fills.
    assert tenon.json("classify", "--adapter", job["adapter"].split("/")[1], "parcel " * 600)["label"] in LABELS


def test_its_files_come_back(tenon, job, tmp_path):
    name = job["adapter"].split("/")[1]
    tenon.text("adapters", "export", name, tmp_path / "files")
    config = json.loads((tmp_path / "files/adapter_config.json").read_text())
    assert config.get("peft_type") == "PROMPT_TUNING" or config["config"]["mh_adapter"] is True
    (tmp_path / "files/tenon.json").unlink()  # as another library writes it
    tenon.json("adapters", "import", tmp_path / "files", "--base", "minilm", "--id", name + "-again",
               "--labels", ",".join(LABELS))
    text = "My card was charged twice for the same order"
    mine, again = (tenon.json("classify", "--adapter", adapter, text) for adapter in (name, name + "-again"))
    assert mine["label"] == again["label"] and abs(mine["score"] - again["score"]) < 1e-5


def test_peft_opens_the_prompt(tenon, job, minilm, tmp_path):
    if job["method"] != "METHOD_PROMPT_TUNING":
        return  # tests/parity/bottleneck_test.py has AdapterHub's library
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tenon.text("adapters", "export", "prompt-tuning", tmp_path / "peft")
    model = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=len(LABELS))
    model = PeftModel.from_pretrained(model, tmp_path / "peft").eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    for text in ("Where is my parcel?", "The app crashes when I open it"):
        with torch.no_grad():
            shares = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        ours = tenon.json("classify", "--adapter", "prompt-tuning", text)
        scores = {c["label"]: c["score"] for c in ours["classes"]}
        assert max(abs(scores[label] - share) for label, share in zip(LABELS, shares)) < 1e-4

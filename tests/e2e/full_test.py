"""Full fine-tuning through the CLI: a job makes a base, which classifies, embeds, carries a collection and an adapter, and is deleted."""

import json

import pytest
import tiny

LABELS = sorted(tiny.WORDS)
ROWS = [("where is the parcel and the courier", "delivery"), ("i forgot my password and cannot login", "account"),
        ("the invoice has a wrong price", "billing")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {name: tiny.write_jsonl(folder / f"{name}.jsonl", tiny.toy_rows(count, seed=seed))
            for name, count, seed in (("train", 240, 1), ("validation", 60, 2))}


@pytest.fixture(scope="module", autouse=True)
def base(tenon, tiny_base):
    return tenon.json("bases", "add", "tiny", tiny_base)


def finetune(tenon, data, name, *more, method="full", base="tiny"):
    return tenon.json("jobs", "finetune", "--base", base, "--adapter", name, "--task", "sequence_classification", "--method", method,
                      "--train", data["train"], "--validation", data["validation"], "--set", "epochs=10", "--set", "learning_rate=1e-3",
                      "--set", "seed=7", "--set", "save_steps=50", *more, "--wait")


@pytest.fixture(scope="module")
def job(tenon, base, data):
    return finetune(tenon, data, "topics")


def test_the_job_makes_a_base(tenon, job):
    result = job["result"]
    assert job["adapter"] == "bases/topics" and result["base"] == "bases/topics"
    assert "adapterRevision" not in result
    untrained, best = ({m["name"]: m["value"] for m in result[stage]}["accuracy"] for stage in ("untrained", "best"))
    assert best > 0.85 > untrained
    names = [entry["name"] for entry in tenon.json("bases", "list")["bases"]]
    assert sorted(names) == ["bases/tiny", "bases/topics"]
    assert tenon.json("adapters", "list")["adapters"] == []
    shown = tenon.text("jobs", "get", job["name"])
    assert "makes bases/topics" in shown and "new base" in shown


def test_it_answers_right_after_success(tenon, data):
    """No wait in between: the call waits for the worker that loads the base."""
    made = finetune(tenon, data, "at-once", "--set", "max_steps=2")
    row = tenon.json("classify", "--base", "at-once", ROWS[0][0])
    assert made["state"] == "JOB_STATE_SUCCEEDED" and row["label"] in LABELS
    assert row["model"]["base"] == "bases/at-once"


def test_it_classifies_and_embeds(tenon, job):
    for text, label in ROWS:
        row = tenon.json("classify", "--base", "topics", text)
        assert row["label"] == label and abs(sum(c["score"] for c in row["classes"]) - 1) < 1e-5
        assert sorted(c["label"] for c in row["classes"]) == LABELS
    before, after = (tenon.json("embed", "--base", name, ROWS[0][0])["embedding"] for name in ("tiny", "topics"))
    assert len(before) == len(after) == 64 and before != after
    assert tenon.error("classify", "--base", "tiny", "text")[1]["reason"] == "NO_CLASSIFIER"


def test_it_carries_a_collection(tenon, job, tmp_path):
    tenon.json("collections", "create", "notes", "--base", "topics")
    rows = [{"id": label, "text": text} for text, label in ROWS]
    tenon.text("documents", "add", "--collection", "notes", "--input", tiny.write_jsonl(tmp_path / "notes.jsonl", rows))
    hits = tenon.json("retrieve", "--collection", "notes", "--top-k", "1", ROWS[1][0])["hits"]
    assert hits[0]["id"] == ROWS[1][1]
    assert tenon.error("bases", "delete", "topics")[1]["reason"] == "IN_USE"
    tenon.text("collections", "delete", "notes")


def test_an_adapter_stands_on_it(tenon, job, data):
    made = finetune(tenon, data, "on-topics", "--set", "max_steps=10", method="lora", base="topics")
    assert made["result"]["adapterRevision"].startswith("adapters/on-topics/")
    row = tenon.json("classify", "--adapter", "on-topics", ROWS[2][0])
    assert row["label"] in LABELS and row["model"]["base"] == "bases/topics"
    assert tenon.error("bases", "delete", "topics")[1]["reason"] == "IN_USE"
    tenon.text("adapters", "delete", "on-topics")


def test_its_name_must_be_free(tenon, job, data):
    arguments = ["jobs", "finetune", "--base", "tiny", "--adapter", "topics", "--task", "sequence_classification", "--method", "full",
                 "--train", data["train"]]
    code, error = tenon.error(*arguments)
    assert (code, error["reason"], error["field"]) == (4, "ALREADY_EXISTS", "finetune_job.adapter")
    code, error = tenon.error(*arguments, "--set", "r=8")
    assert (code, error["field"]) == (2, "r")
    arguments[5] = "half"
    code, error = tenon.error(*arguments, "--set", "precision=bf16")
    assert (code, error["reason"], error["field"]) == (2, "OPTION_INVALID", "finetune_job.training.precision")


def test_transformers_opens_its_files(cluster, tenon, job, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    entries = next(entry for entry in tenon.json("bases", "list")["bases"] if entry["name"] == "bases/topics")["files"]
    for entry in entries:
        blob = next(path for path in (cluster.folder / "server/blobs").rglob(entry["sha256"]) if path.is_file())
        (tmp_path / entry["path"]).write_bytes(blob.read_bytes())
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text, _ in ROWS:
        with torch.no_grad():
            shares = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        scores = {c["label"]: c["score"] for c in tenon.json("classify", "--base", "topics", text)["classes"]}
        assert max(abs(scores[model.config.id2label[i]] - share) for i, share in enumerate(shares)) < 1e-4


def test_it_survives_a_restart_and_is_deleted(cluster, tenon, job):
    cluster.server.stop()
    cluster.start_server()
    cluster.wait_for_worker()
    assert tenon.json("classify", "--base", "topics", ROWS[0][0])["label"] == ROWS[0][1]
    tenon.text("bases", "delete", "topics")
    assert tenon.error("classify", "--base", "topics", "text")[1]["reason"] == "NOT_FOUND"
    assert tenon.json("embed", "--base", "tiny", "text")["embedding"]

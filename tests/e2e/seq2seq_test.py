"""Training and measuring a model that writes, through the CLI and real processes: records, templates, a preview, a job, texts, an evaluation."""

import json
import os
import pathlib

import pytest
import tiny
from tenon_process import ROOT

SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
VOCABULARY = SHARED / "data/tokenizers/t5_tokenizer.json"
pytestmark = pytest.mark.skipif(not VOCABULARY.exists(), reason="../shared is not there")

LABELS = sorted(tiny.WORDS)
TEMPLATES = ["--input-template", "topic: {message}", "--target-template", "{topic}"]


def records(count, seed):
    return [{"message": row["text"], "topic": row["label"], "id": i, "tags": [1]} for i, row in enumerate(tiny.toy_rows(count, seed))]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {name: tiny.write_jsonl(folder / f"{name}.jsonl", records(count, seed))
            for name, count, seed in (("train", 160, 1), ("dev", 40, 2), ("test", 30, 3))}


@pytest.fixture(scope="module", autouse=True)
def base(tenon, cluster, minilm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    tiny.make_t5(folder, VOCABULARY)
    tenon.text("bases", "add", "t5", folder)
    tenon.text("bases", "add", "minilm", minilm)
    cluster.wait_for_worker()


def finetune(files, *more, base="t5", adapter="topics"):
    return ["jobs", "finetune", "--base", base, "--adapter", adapter, "--task", "seq2seq", "--method", "lora", "--train", files["train"],
            "--validation", files["dev"], *more]


@pytest.fixture(scope="module")
def job(tenon, files):
    return tenon.json(*finetune(files, *TEMPLATES, "--set", "max_steps=60", "--set", "batch_size=8", "--set", "r=16", "--set",
                                "learning_rate=3e-3", "--set", "seed=7", "--set", "max_target_tokens=8", "--wait"))


def metrics(values):
    return {metric["name"]: metric["value"] for metric in values}


def test_records_are_told_by_their_columns(tenon, files):
    data = tenon.json("datasets", "add", "messages", files["train"])
    assert data["kind"] == "DATASET_KIND_RECORDS" and data["fields"] == ["id", "message", "topic"]
    assert data["warnings"] == ["ignored columns: tags (row 1: is a list)"]
    assert "id, message, topic" in tenon.text("datasets", "list")


def test_a_kind_may_be_asked_for(tenon, tmp_path):
    file = tiny.write_jsonl(tmp_path / "rows.jsonl", [{"text": "a", "label": "b", "why": "c"}])
    assert tenon.json("datasets", "check", file)["kind"] == "DATASET_KIND_CLASSIFICATION"
    checked = tenon.json("datasets", "check", "--kind", "records", file)
    assert checked["kind"] == "DATASET_KIND_RECORDS" and checked["fields"] == ["label", "text", "why"]


def test_the_preview_shows_the_first_rows_and_starts_nothing(tenon, files):
    rows = records(160, 1)
    shown = tenon.text(*finetune(files, *TEMPLATES, "--preview", adapter="none"))
    for row in rows[:3]:
        assert f"reads:  topic: {row['message']}\n  writes: {row['topic']}\n" in shown
    assert rows[3]["message"] not in shown
    job = tenon.json(*finetune(files, *TEMPLATES, "--preview", adapter="none"))
    assert job["preview"] == [{"input": f"topic: {row['message']}", "target": row["topic"]} for row in rows[:3]]
    assert job["textTemplate"] == {"input": "topic: {message}", "target": "{topic}"} and job["name"] == ""
    assert "none" not in tenon.text("jobs", "list")


@pytest.mark.parametrize("templates,side,message", [
    (["--input-template", "topic: {massage}", "--target-template", "{topic}"], "input", "{message}"),
    (["--input-template", "topic: {message", "--target-template", "{topic}"], "input", "character 8"),
    (["--input-template", "{message}", "--target-template", "{tags}"], "target", "tags (row 1: is a list)"),
    (["--input-template", "{message}", "--target-template", "yes"], "target", "has no field"),
    ([], "input", "uses {input}")])
def test_a_bad_template_is_named(tenon, files, templates, side, message):
    code, error = tenon.error(*finetune(files, *templates, adapter="none"))
    assert code == 2 and error["reason"] == "FIELD_INVALID" and error["field"] == f"finetune_job.text_template.{side}"
    assert message in error["message"]


def test_what_does_not_go_together_is_named(tenon, files):
    code, error = tenon.error(*finetune(files, *TEMPLATES, base="minilm", adapter="none"))
    assert code == 4 and error["reason"] == "NOT_GENERATIVE" and error["field"] == "finetune_job.base"
    head = [word if word != "lora" else "head" for word in finetune(files, *TEMPLATES, adapter="none")]
    code, error = tenon.error(*head)
    assert code == 2 and error["reason"] == "UNSUPPORTED" and error["field"] == "finetune_job.method"
    code, error = tenon.error("jobs", "finetune", "--base", "t5", "--adapter", "none", "--task", "sequence_classification", "--method", "lora",
                              "--train", files["train"])
    assert code == 2 and error["field"] == "finetune_job.task"


def test_it_learns(job):
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert job["training"]["metricForBest"] == "loss" and job["lora"]["targetModules"] == ["q", "v"] and job["labels"] == []
    untrained, best = (metrics(job["result"][stage])["loss"] for stage in ("untrained", "best"))
    assert best < 0.9 * untrained


def test_the_adapter_knows_its_task_and_template(tenon, job):
    adapter = tenon.json("adapters", "get", "topics")
    assert adapter["task"] == "TASK_SEQ2SEQ" and adapter["labels"] == []
    assert adapter["revisions"][0]["textTemplate"] == {"input": "topic: {message}", "target": "{topic}"}
    assert "topic: {message}" in tenon.text("adapters", "get", "topics")


def test_summarize_fills_the_template(tenon, job):
    text = "my parcel was late again"
    options = ["--adapter", "topics", "--max-new-tokens", "6"]
    summary = tenon.json("summarize", *options, text)
    assert summary["kind"] == "ABSTRACTIVE"
    assert summary["summary"] == tenon.json("generate", *options, f"topic: {text}")["outputs"][0]["text"]
    assert summary["usage"]["inputTokens"] == tenon.json("generate", *options, f"topic: {text}")["usage"]["inputTokens"]


def test_the_template_travels_with_the_files(tenon, job, tmp_path):
    tenon.text("adapters", "export", "topics", tmp_path / "files")
    assert json.loads((tmp_path / "files/tenon.json").read_text())["text_template"] == {"input": "topic: {message}", "target": "{topic}"}
    again = tenon.json("adapters", "import", tmp_path / "files", "--base", "t5", "--id", "again")
    assert again["revisions"][0]["textTemplate"]["input"] == "topic: {message}"
    (tmp_path / "files/tenon.json").unlink()  # as another library writes it
    other = tenon.json("adapters", "import", tmp_path / "files", "--base", "t5", "--id", "two", "--input-template", "{question} in {message}")
    assert other["revisions"][0]["textTemplate"] == {"input": "{question} in {message}", "target": ""}
    code, error = tenon.error("summarize", "--adapter", "two", "a text")
    assert code == 4 and error["reason"] == "TEMPLATE_FIELDS" and "{question} in {message}" in error["message"]


def test_an_evaluation_compares_the_base_with_its_adapter(tenon, job, files):
    done = tenon.json("jobs", "evaluate", "--task", "seq2seq", "--base", "t5", "--adapter", "topics", "--data", files["dev"], *TEMPLATES,
                      "--labels", ",".join(LABELS), "--max-new-tokens", "6", "--max-target-tokens", "8", "--wait")
    assert done["state"] == "JOB_STATE_SUCCEEDED"
    base, adapter = done["results"]
    assert base["model"]["base"] == "bases/t5" and base["model"]["adapter"] == "" and adapter["model"]["adapter"] == "adapters/topics"
    for result in (base, adapter):
        values = metrics(result["metrics"])
        assert {"loss", "token_accuracy", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match", "accuracy", "macro_f1",
                "unparsable"} <= set(values)
        assert int(result["examples"]) == 40 and len(result["confusionMatrix"]) == 9
        assert [score["label"] for score in result["classes"]] == LABELS
        assert result["intervals"]
        for interval in result["intervals"]:
            assert interval["low"] <= values[interval["name"]] + 1e-9 and values[interval["name"]] <= interval["high"] + 1e-9
    # The job measured the same on the same rows.
    for result, stage in ((base, "untrained"), (adapter, "best")):
        assert metrics(result["metrics"])["loss"] == pytest.approx(metrics(job["result"][stage])["loss"], rel=1e-3)
    table = tenon.text("jobs", "get", done["name"])
    assert "95 % INTERVAL" in table and "texts written by 2 model(s)" in table and "rougeLsum" in table


def test_an_evaluation_takes_the_adapters_own_template(tenon, job, files):
    done = tenon.json("jobs", "evaluate", "--task", "seq2seq", "--adapter", "topics", "--data", files["test"], "--max-rows", "10",
                      "--max-new-tokens", "4", "--wait")
    assert int(done["results"][0]["examples"]) == 10 and done["results"][0]["classes"] == []


@pytest.fixture(scope="module")
def writer(tenon, files):
    words = [word if word != "lora" else "full" for word in finetune(files, *TEMPLATES, adapter="writer")]
    return tenon.json(*words, "--set", "max_steps=40", "--set", "batch_size=8", "--set", "learning_rate=1e-3", "--set", "seed=7", "--set",
                      "max_target_tokens=8", "--wait")


def test_a_full_job_makes_a_base_that_writes(tenon, writer):
    result = writer["result"]
    assert writer["state"] == "JOB_STATE_SUCCEEDED" and result["base"] == "bases/writer" and "adapterRevision" not in result
    untrained, best = (metrics(result[stage])["loss"] for stage in ("untrained", "best"))
    assert best < 0.9 * untrained
    entry = next(base for base in tenon.json("bases", "list")["bases"] if base["name"] == "bases/writer")
    assert entry["tasks"] == ["TASK_SEQ2SEQ"]


def test_transformers_writes_the_same_with_its_files(cluster, tenon, writer, tmp_path):
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    entry = next(base for base in tenon.json("bases", "list")["bases"] if base["name"] == "bases/writer")
    for file in entry["files"]:
        blob = next(path for path in (cluster.folder / "server/blobs").rglob(file["sha256"]) if path.is_file())
        (tmp_path / file["path"]).write_bytes(blob.read_bytes())
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    for row in records(4, 9):
        text = f"topic: {row['message']}"
        with torch.no_grad():
            ids = model.generate(**tokenizer(text, return_tensors="pt"), max_new_tokens=6, do_sample=False)
        written = tenon.json("generate", "--base", "writer", "--max-new-tokens", "6", text)
        assert written["outputs"][0]["text"] == tokenizer.decode(ids[0], skip_special_tokens=True)
        assert written["model"]["base"] == "bases/writer"


def test_an_adapter_stands_on_the_new_base(tenon, writer, files):
    job = tenon.json(*finetune(files, *TEMPLATES, base="writer", adapter="on-writer"), "--set", "max_steps=2", "--set",
                     "max_target_tokens=8", "--wait")
    assert metrics(job["result"]["untrained"])["loss"] == pytest.approx(metrics(writer["result"]["best"])["loss"], rel=1e-3)
    assert tenon.json("generate", "--adapter", "on-writer", "--max-new-tokens", "4", "a text")["model"]["base"] == "bases/writer"


@pytest.mark.parametrize("words,field", [
    (["--base", "t5"], "eval_job.seq2seq.text_template"),
    (["--adapter", "topics", "--top-p", "2"], "eval_job.seq2seq.generation.top_p"),
    (["--adapter", "topics", "--labels", "a,A."], "eval_job.seq2seq.labels[1]"),
    (["--base", "minilm", *TEMPLATES], "eval_job.seq2seq.models")])
def test_a_bad_evaluation_is_named(tenon, job, files, words, field):
    _, error = tenon.error("jobs", "evaluate", "--task", "seq2seq", *words, "--data", files["test"])
    assert error["field"] == field

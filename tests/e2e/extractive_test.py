"""Training a scorer of sentences and summarizing with it, through the CLI and real processes."""

import json
import math
import os
import pathlib
import random

import pytest
import tiny
from tenon_process import ROOT

SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
VOCABULARY = SHARED / "data/tokenizers/t5_tokenizer.json"

# Meetings: what was agreed is what their minutes say. All else talks of the same things.
THINGS = ["the printer", "the price list", "the delivery van", "the summer party", "the new website", "the office plants", "the spare keys",
          "the training day", "the coffee machine", "the parking lot"]
ENDS = ["will be moved to the second floor", "is going to be paid from the travel budget", "will be ready before the holidays",
        "is to be checked twice a month", "will be given to the night shift", "is to be replaced in spring"]
TALK = ["Has anybody looked at {thing} lately?", "I still think about {thing} now and then.", "Somebody told me a story about {thing}.",
        "It rained all the way to the office.", "My train was late again.", "Shall we open a window?", "That reminds me of last year.",
        "Who has the notes of the last meeting?", "I had no breakfast today.", "Does {thing} ever make you laugh?"]
TEMPLATES = ["--input-template", "{talk}", "--target-template", "{minutes}"]


def meeting(draw):
    """Sentences of a meeting, and the places of those with something that was agreed."""
    sentences = [draw.choice(TALK).format(thing=draw.choice(THINGS)) for _ in range(draw.randint(4, 6))]
    agreed = [f"{thing} {draw.choice(ENDS)}." for thing in draw.sample(THINGS, 2)]
    for text in agreed:
        sentences.insert(draw.randint(1, len(sentences)), f"We agreed that {text}")
    return sentences, [i for i, sentence in enumerate(sentences) if sentence.startswith("We agreed")]


def meetings(count, seed):
    draw = random.Random(seed)
    return [meeting(draw) for _ in range(count)]


def records(made):
    minutes = ([sentences[i].removeprefix("We agreed that ").capitalize() for i in agreed] for sentences, agreed in made)
    return [{"talk": " ".join(sentences), "minutes": " ".join(lines)} for (sentences, _), lines in zip(made, minutes)]


TRAIN, DEV, TEST = meetings(30, 1), meetings(6, 2), meetings(8, 3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {name: tiny.write_jsonl(folder / f"{name}.jsonl", records(made)) for name, made in (("train", TRAIN), ("dev", DEV))}


@pytest.fixture(scope="module", autouse=True)
def base(tenon, cluster, minilm):
    tenon.text("bases", "add", "minilm", minilm)
    cluster.wait_for_worker()


def finetune(train, *more, base="minilm", adapter="minutes", method="lora"):
    return ["jobs", "finetune", "--base", base, "--adapter", adapter, "--task", "extractive", "--method", method, "--train", train, *more]


QUICK = ["--set", "neighbours=1", "--set", "batch_size=8", "--set", "max_input_tokens=48", "--set", "seed=7"]


@pytest.fixture(scope="module")
def job(tenon, files):
    return tenon.json(*finetune(files["train"], "--validation", files["dev"], *TEMPLATES, *QUICK, "--set", "epochs=3", "--set",
                                "learning_rate=3e-3", "--set", "warmup_ratio=0.1", "--wait"))


def metrics(values):
    return {metric["name"]: metric["value"] for metric in values}


def summaries(tenon, tmp_path, *flags):
    file = tiny.write_jsonl(tmp_path / "talks.jsonl", [{"text": " ".join(sentences)} for sentences, _ in TEST])
    return tenon.lines("summarize", "--max-sentences", "2", "--input", file, *flags)


def test_the_preview_shows_texts_and_summaries(tenon, files):
    first = records(TRAIN)[0]
    shown = tenon.text(*finetune(files["train"], *TEMPLATES, "--preview", adapter="none"))
    assert f"reads:  {first['talk']}\n  summary: {first['minutes']}\n" in shown
    assert "none" not in tenon.text("jobs", "list")


def test_it_learns_by_sentences(tenon, job):
    result = job["result"]
    assert job["state"] == "JOB_STATE_SUCCEEDED" and job["task"] == "TASK_EXTRACTIVE_SUMMARIZATION"
    assert job["sentenceScorer"] == {"neighbours": 1} and job["training"]["metricForBest"] == "loss"
    untrained, best, baseline = (metrics(result[stage]) for stage in ("untrained", "best", "headBaseline"))
    assert set(untrained) == set(best) == set(baseline) == {"accuracy", "macro_f1", "loss"}
    assert best["loss"] < 0.5 * untrained["loss"] and best["accuracy"] > 0.9
    rows = sum(len(sentences) for sentences, _ in TRAIN)
    assert int(result["totalSteps"]) == 3 * math.ceil(rows / 8)
    shown = tenon.text("jobs", "get", job["name"])
    assert "lora for extractive_summarization" in shown and "1 sentences on either side" in shown and "HEAD BASELINE" in shown


def test_the_adapter_says_what_it_is(tenon, job):
    adapter = tenon.json("adapters", "get", "minutes")
    assert adapter["task"] == "TASK_EXTRACTIVE_SUMMARIZATION" and adapter["labels"] == ["other", "extract"]
    assert "textTemplate" not in adapter["revisions"][0]
    assert "lora for extractive_summarization" in tenon.text("adapters", "get", "minutes")
    assert "other, extract" in tenon.text("adapters", "list")


def test_it_chooses_what_it_learnt_to(tenon, job, tmp_path):
    rows = summaries(tenon, tmp_path, "--adapter", "minutes")
    for row, (sentences, agreed) in zip(rows, TEST, strict=True):
        assert row["kind"] == "EXTRACTIVE" and row["model"]["adapter"] == "adapters/minutes"
        assert row["summary"] == " ".join(sentences[i] for i in row["sentences"])
    assert sum(row["sentences"] == agreed for row, (_, agreed) in zip(rows, TEST)) >= 7
    # The base alone knows nothing of minutes.
    alone = summaries(tenon, tmp_path, "--base", "minilm")
    assert sum(row["sentences"] == agreed for row, (_, agreed) in zip(alone, TEST)) < 7


def test_a_method_that_is_named_wins(tenon, job, tmp_path):
    own = [row["sentences"] for row in summaries(tenon, tmp_path, "--adapter", "minutes")]
    assert [row["sentences"] for row in summaries(tenon, tmp_path, "--adapter", "minutes", "--method", "scorer")] == own
    assert [row["sentences"] for row in summaries(tenon, tmp_path, "--adapter", "minutes", "--method", "lead")] == [[0, 1]] * len(TEST)
    assert [row["sentences"] for row in summaries(tenon, tmp_path, "--adapter", "minutes", "--method", "mmr")] != own


def test_its_classifier_answers_too(tenon, job):
    row = tenon.json("classify", "--adapter", "minutes", "We agreed that the printer will be ready before the holidays.")
    assert row["label"] == "extract" and {score["label"] for score in row["classes"]} == {"other", "extract"}


def test_it_stays_a_scorer_in_its_files(tenon, job, tmp_path):
    tenon.text("adapters", "export", "minutes", tmp_path / "files")
    config = json.loads((tmp_path / "files/tenon.json").read_text())
    assert config["task"] == "sequence_classification" and config["sentence_scorer"] == {"neighbours": 1} and "text_template" not in config
    again = tenon.json("adapters", "import", tmp_path / "files", "--base", "minilm", "--id", "again")
    assert again["task"] == "TASK_EXTRACTIVE_SUMMARIZATION"
    assert again["revisions"][0]["digest"] == tenon.json("adapters", "get", "minutes")["revisions"][0]["digest"]
    mine, theirs = (summaries(tenon, tmp_path, "--adapter", name) for name in ("minutes", "again"))
    assert [row["sentences"] for row in mine] == [row["sentences"] for row in theirs]


@pytest.mark.parametrize("method", ["head", "prompt_tuning", "bottleneck"])
def test_other_methods_make_scorers_too(tenon, files, tmp_path, method):
    name = method.replace("_", "-")
    made = tenon.json(*finetune(files["train"], *TEMPLATES, *QUICK, "--set", "max_steps=4", "--wait", adapter=name, method=method))
    assert made["state"] == "JOB_STATE_SUCCEEDED"
    rows = summaries(tenon, tmp_path, "--adapter", name, "--method", "scorer")
    assert all(row["kind"] == "EXTRACTIVE" and len(row["sentences"]) == 2 for row in rows)


@pytest.mark.parametrize("flags,code,reason,field,message", [
    (["--method", "full"], 2, "UNSUPPORTED", "finetune_job.method", "METHOD_FULL makes a base"),
    (["--set", "neighbours=65"], 2, "OPTION_INVALID", "finetune_job.sentence_scorer.neighbours", "from 0 to 64"),
    (["--set", "max_target_tokens=9"], 2, "OPTION_INVALID", "finetune_job.training.max_target_tokens", "TASK_SEQ2SEQ"),
    (["--set", "multi_label=true"], 2, "OPTION_INVALID", "finetune_job.training.multi_label", "TASK_SEQUENCE_CLASSIFICATION"),
    (["--set", "metric_for_best=token_accuracy"], 2, "OPTION_INVALID", "finetune_job.training.metric_for_best", "macro_f1"),
    (["--target-template", "{summary}"], 2, "FIELD_INVALID", "finetune_job.text_template.target", "{minutes}")])
def test_a_wrong_job_is_named(tenon, files, flags, code, reason, field, message):
    words = finetune(files["train"], "--input-template", "{talk}", adapter="none")
    if "--target-template" not in flags:
        words += ["--target-template", "{minutes}"]
    if flags[0] == "--method":
        words[words.index("lora")], flags = flags[1], []
    got, error = tenon.error(*words, *flags)
    assert (got, error["reason"], error["field"]) == (code, reason, field) and message in error["message"]


def test_a_row_without_a_summary_is_named(tenon, tmp_path):
    rows = records(TRAIN[:4])
    rows[2]["minutes"] = " "
    code, error = tenon.error(*finetune(tiny.write_jsonl(tmp_path / "rows.jsonl", rows), *TEMPLATES, adapter="none"))
    assert code == 2 and error["field"] == "finetune_job.text_template.target" and "minutes (row 3: is empty)" in error["message"]


def test_texts_that_teach_nothing_fail_the_job(tenon, tmp_path):
    rows = [{"talk": "It rained. We went home.", "minutes": "Sun"} for _ in range(3)]
    code, error = tenon.error(*finetune(tiny.write_jsonl(tmp_path / "rows.jsonl", rows), *TEMPLATES, "--wait", adapter="none"))
    assert code == 2 and error["reason"] == "DATASET_INVALID" and "nothing can be learnt" in error["message"]


def test_neighbours_of_another_task_are_no_option(tenon, files):
    words = [word if word != "extractive" else "seq2seq" for word in finetune(files["train"], *TEMPLATES, "--set", "neighbours=1", adapter="none")]
    code, error = tenon.error(*words)
    assert code == 2 and error["reason"] == "OPTION_INVALID" and error["field"] == "neighbours"


def test_a_scorer_is_asked_for_where_there_is_one(tenon):
    code, error = tenon.error("summarize", "--base", "minilm", "--method", "scorer", "A text. Another.")
    assert code == 2 and error["reason"] == "FIELD_INVALID" and error["field"] == "extractive.method"


def test_it_is_not_measured_as_what_it_is_not(tenon, job, files):
    code, error = tenon.error("jobs", "evaluate", "--task", "extractive", "--adapter", "minutes", "--data", files["dev"])
    assert code == 2 and error["reason"] == "UNSUPPORTED" and error["field"] == "--task"
    code, error = tenon.error("jobs", "evaluate", "--task", "seq2seq", "--adapter", "minutes", "--data", files["dev"], *TEMPLATES)
    assert code == 4 and error["reason"] == "NOT_GENERATIVE" and "chooses sentences" in error["message"]
    code, error = tenon.error("generate", "--adapter", "minutes", "A text.")
    assert code == 4 and error["reason"] == "NOT_GENERATIVE"


@pytest.mark.skipif(not VOCABULARY.exists(), reason="../shared is not there")
def test_a_base_that_writes_is_refused(tenon, files, tmp_path):
    tiny.make_t5(tmp_path / "t5", VOCABULARY)
    tenon.text("bases", "add", "t5", tmp_path / "t5")
    code, error = tenon.error(*finetune(files["train"], *TEMPLATES, base="t5", adapter="none"))
    assert code == 2 and error["reason"] == "UNSUPPORTED" and error["field"] == "finetune_job.task" and "encoder" in error["message"]


def test_a_restart_keeps_it(cluster, tenon, job, tmp_path):
    before = [row["sentences"] for row in summaries(tenon, tmp_path, "--adapter", "minutes")]
    cluster.server.kill()
    cluster.start_server()
    cluster.wait_for_worker()
    assert tenon.json("jobs", "get", job["name"]) == job
    assert tenon.json("adapters", "get", "minutes")["task"] == "TASK_EXTRACTIVE_SUMMARIZATION"
    assert [row["sentences"] for row in summaries(tenon, tmp_path, "--adapter", "minutes")] == before

"""Pairs of texts and regression through the CLI: a job of each, its answers and scores, its files in PEFT, and what is refused."""

import json
import random

import pytest
import tiny

LABELS = sorted(tiny.WORDS)


@pytest.fixture(scope="module", autouse=True)
def base(tenon, tiny_base):
    return tenon.json("bases", "add", "tiny", tiny_base)


def pair_rows(count, seed):
    """The second text alone has the topic, the first none; every fifth row is a text alone."""
    draw = random.Random(seed)
    rows = tiny.toy_rows(count, seed=seed)
    return [row if i % 5 == 0 else {"text": " ".join(draw.choices(tiny.FILLER, k=4)), "text_pair": row["text"], "label": row["label"]}
            for i, row in enumerate(rows)]


def valued_rows(count, seed):
    """How many words of delivery a text has among its neighbours'."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        many = draw.randint(0, 4)
        words = draw.sample(tiny.WORDS["delivery"], many) + draw.choices(tiny.FILLER, k=4)
        draw.shuffle(words)
        rows.append({"text": " ".join(draw.choices(tiny.FILLER, k=2)), "text_pair": " ".join(words), "label": many})
    return rows


def finetune(tenon, name, train, validation, *more):
    return tenon.json("jobs", "finetune", "--base", "tiny", "--adapter", name, "--task", "sequence_classification", "--method", "lora",
                      "--train", train, "--validation", validation, "--set", "learning_rate=1e-2", "--set", "seed=7", *more, "--wait")


def metrics(points):
    return {one["name"]: one["value"] for one in points}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    made = {name: tiny.write_jsonl(folder / f"{name}.jsonl", rows) for name, rows in {
        "pairs": pair_rows(600, 1), "pairs-test": pair_rows(80, 11), "values": valued_rows(300, 21), "values-test": valued_rows(80, 31)}.items()}
    rows = valued_rows(300, 21)
    made["values-csv"] = folder / "values.csv"
    made["values-csv"].write_text("text,text_pair,label\n" + "".join(f"{r['text']},{r['text_pair']},{r['label']}.0\n" for r in rows))
    return made


@pytest.fixture(scope="module")
def paired(tenon, files):
    return finetune(tenon, "paired", files["pairs"], files["pairs-test"], "--set", "epochs=15")


@pytest.fixture(scope="module")
def valued(tenon, files):
    return finetune(tenon, "valued", files["values-csv"], files["values-test"], "--set", "epochs=6", "--set", "problem_type=regression",
                    "--set", "metric_for_best=pearson")


def peft_logits(folder, base, outputs, rows):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=outputs)
    model = PeftModel.from_pretrained(model, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.no_grad():
        return [model(**tokenizer(*(row[key] for key in ("text", "text_pair") if key in row), return_tensors="pt")).logits[0] for row in rows]


def test_a_pairs_second_text_is_read(tenon, paired, files):
    result = paired["result"]
    assert metrics(result["best"])["accuracy"] > 0.8 > 0.6 > metrics(result["untrained"])["accuracy"]
    measured = tenon.json("jobs", "evaluate", "--adapter", "paired", "--task", "sequence_classification", "--data", files["pairs-test"], "--wait")
    assert abs(metrics(measured["results"][0]["metrics"])["accuracy"] - metrics(result["best"])["accuracy"]) < 1e-6


def test_classify_takes_pairs_and_texts_alone_and_answers_as_peft(tenon, paired, files, tiny_base, tmp_path):
    rows = [json.loads(line) for line in files["pairs-test"].read_text().splitlines()[:12]]
    answers = tenon.lines("classify", "--adapter", "paired", "--input", files["pairs-test"])[:12]
    tenon.text("adapters", "export", "paired", tmp_path / "peft")
    for ours, theirs in zip(answers, peft_logits(tmp_path / "peft", tiny_base, 3, rows)):
        scores = {one["label"]: one["score"] for one in ours["classes"]}
        assert max(abs(scores[label] - share) for label, share in zip(LABELS, theirs.softmax(-1).tolist())) < 1e-4
    pair = next(row for row in rows if "text_pair" in row)
    flag = tenon.json("classify", "--adapter", "paired", pair["text"], "--text-pair", pair["text_pair"])
    filed = answers[rows.index(pair)]
    assert flag["label"] == filed["label"] and abs(flag["score"] - filed["score"]) < 1e-5


def test_a_regression_learns_and_is_measured(tenon, valued, files):
    assert valued["training"]["problemType"] == "regression" and valued["labels"] == ["LABEL_0"]
    best, untrained = metrics(valued["result"]["best"]), metrics(valued["result"]["untrained"])
    assert best["pearson"] > 0.8 and best["loss"] < untrained["loss"] / 3
    measured = tenon.json("jobs", "evaluate", "--adapter", "valued", "--task", "sequence_classification", "--problem-type", "regression",
                          "--data", files["values-test"], "--wait")["results"][0]
    found = metrics(measured["metrics"])
    assert set(found) == {"mse", "pearson", "spearman"} and measured["examples"] == "80"
    assert found["mse"] == pytest.approx(best["loss"], rel=1e-3) and found["pearson"] == pytest.approx(best["pearson"], abs=1e-3)


def test_classify_gives_values_as_peft(tenon, valued, files, tiny_base, tmp_path):
    rows = [json.loads(line) for line in files["values-test"].read_text().splitlines()[:8]]
    answers = tenon.lines("classify", "--adapter", "valued", "--input", files["values-test"])[:8]
    tenon.text("adapters", "export", "valued", tmp_path / "peft")
    assert json.loads((tmp_path / "peft/tenon.json").read_text())["problem_type"] == "regression"
    for ours, theirs in zip(answers, peft_logits(tmp_path / "peft", tiny_base, 1, rows)):
        assert (ours["label"], ours["classes"]) == ("", []) and ours["values"] == pytest.approx(theirs.tolist(), abs=1e-4)
    # As PEFT alone writes it, it comes back as what it was.
    (tmp_path / "peft/tenon.json").unlink()
    tenon.json("adapters", "import", tmp_path / "peft", "--base", "tiny", "--id", "again")
    again = tenon.lines("classify", "--adapter", "again", "--input", files["values-test"])[0]
    assert again["values"] == pytest.approx(answers[0]["values"], abs=1e-5)


def test_a_merged_regression_is_one_in_transformers(tenon, valued, files, tmp_path):
    from transformers import AutoModelForSequenceClassification
    tenon.text("adapters", "export", "valued", tmp_path / "merged", "--merged")
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").config
    assert (config.problem_type, config.num_labels) == ("regression", 1)
    tenon.json("bases", "add", "merged", tmp_path / "merged")
    ours, theirs = (tenon.lines("classify", *model, "--input", files["values-test"])[0] for model in (["--adapter", "valued"], ["--base", "merged"]))
    assert theirs["values"] == pytest.approx(ours["values"], abs=1e-4)


def test_rows_must_fit_the_adapter(tenon, paired, valued, files):
    for adapter, data, kind in ("paired", "values-test", "regression"), ("valued", "pairs-test", "single_label_classification"):
        code, error = tenon.error("jobs", "evaluate", "--adapter", adapter, "--task", "sequence_classification", "--data", files[data],
                                  "--problem-type", kind)
        assert code != 0 and error["reason"] == "FIELD_INVALID" and error["field"] == "eval_job.classification.dataset"


@pytest.mark.parametrize("label", ['"much"', "NaN", "-Infinity", "1e999", "null"])
def test_a_label_that_is_no_number_stores_nothing(tenon, label, tmp_path):
    file = tmp_path / "broken.jsonl"
    file.write_text('{"text": "a", "label": 0.5}\n{"text": "b", "label": %s}\n' % label)
    before = tenon.json("datasets", "list")["datasets"]
    _, error = tenon.error("datasets", "add", "broken", file)
    assert error["reason"] == "DATASET_INVALID" and error["field"] == "row 2, column label"
    assert tenon.json("datasets", "list")["datasets"] == before

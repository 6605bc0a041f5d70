"""Tags of words and answers to questions through the CLI: a job of each, its answers and scores, its files in PEFT, and what is refused."""

import json
import random

import pytest
import tiny

TYPES = {"PAY": tiny.WORDS["billing"], "WAY": tiny.WORDS["delivery"]}
TAGS = ["B-PAY", "B-WAY", "I-PAY", "I-WAY", "O"]


@pytest.fixture(scope="module", autouse=True)
def base(tenon, tiny_base):
    return tenon.json("bases", "add", "tiny", tiny_base)


def run_of(draw, words, most):
    """One of the first five words, and perhaps some of the others behind it: a word tells whether it begins a run, as a small model of
    random weights knows little of a word's neighbours."""
    return [draw.choice(words[:5]), *draw.sample(words[5:], draw.randint(0, most - 1))]


def tagged_rows(count, seed, longest=4):
    """Runs of words of a kind are one entity."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        words, tags = [], []
        for _ in range(draw.randint(1, longest)):
            for word in draw.choices(tiny.FILLER, k=draw.randint(1, 3)):
                words.append(word)
                tags.append("O")
            kind = draw.choice(list(TYPES))
            for i, word in enumerate(run_of(draw, TYPES[kind], 3)):
                words.append(word)
                tags.append(f"{'I' if i else 'B'}-{kind}")
        rows.append({"words": words, "tags": tags})
    return rows


def question_rows(count, seed, longest=30):
    """What is paid for is the answer; a quarter of the contexts have none."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        words = draw.choices(tiny.FILLER + tiny.WORDS["delivery"], k=draw.randint(4, longest))
        answer = " ".join(run_of(draw, tiny.WORDS["billing"], 2))
        at = draw.randrange(len(words))
        before = " ".join(words[:at])
        begin = len(before) + (1 if before else 0)
        if draw.random() < 0.25:
            rows.append({"question": "what is it for", "context": " ".join(words), "answers": {"text": [], "answer_start": []}})
            continue
        words[at:at] = [answer]
        rows.append({"question": "what is it for", "context": " ".join(words), "answers": {"text": [answer], "answer_start": [begin]}})
    return rows


def metrics(points):
    return {one["name"]: one["value"] for one in points}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {name: tiny.write_jsonl(folder / f"{name}.jsonl", rows) for name, rows in {
        "tags": tagged_rows(400, 1, longest=20), "tags-test": tagged_rows(60, 11), "questions": question_rows(600, 21, longest=90),
        "questions-test": question_rows(60, 31)}.items()}


def finetune(tenon, name, task, train, validation, *more, method="lora"):
    return tenon.json("jobs", "finetune", "--base", "tiny", "--adapter", name, "--task", task, "--method", method, "--train", train,
                      "--validation", validation, "--set", "learning_rate=1e-2", "--set", "seed=7", *more, "--wait")


@pytest.fixture(scope="module")
def tagger(tenon, files):
    return finetune(tenon, "tagger", "token_classification", files["tags"], files["tags-test"], "--set", "epochs=10")


@pytest.fixture(scope="module")
def reader(tenon, files):
    return finetune(tenon, "reader", "question_answering", files["questions"], files["questions-test"], "--set", "epochs=8")


def test_tags_are_learnt_and_measured(tenon, tagger, files):
    assert tagger["labels"] == TAGS and tagger["training"]["metricForBest"] == "f1"
    best, untrained = metrics(tagger["result"]["best"]), metrics(tagger["result"]["untrained"])
    assert best["f1"] > 0.9 and untrained["f1"] < 0.3
    measured = tenon.json("jobs", "evaluate", "--adapter", "tagger", "--task", "token_classification", "--data", files["tags-test"], "--wait")["results"][0]
    found = metrics(measured["metrics"])
    for name in ("precision", "recall", "f1", "accuracy"):
        assert found[name] == pytest.approx(best[name], abs=1e-6)
    assert [one["label"] for one in measured["classes"]] == ["PAY", "WAY"] and measured["examples"] == "60"
    assert sum(int(one["support"]) for one in measured["classes"]) == sum(tag[0] == "B" for row in tagged_rows(60, 11) for tag in row["tags"])


def test_tag_gives_words_and_entities(tenon, tagger, files, tiny_base, tmp_path):
    rows = tagged_rows(60, 11)
    words_file = tiny.write_jsonl(tmp_path / "words.jsonl", [{"id": i, "words": row["words"]} for i, row in enumerate(rows)])
    answers = tenon.lines("tag", "--adapter", "tagger", "--input", words_file)
    assert [one["id"] for one in answers] == list(range(len(rows))) and all(one["windows"] == 1 for one in answers)
    for answer, row in zip(answers, rows):
        text = " ".join(row["words"])
        assert [text[word["begin"]:word["end"]] for word in answer["words"]] == row["words"]
        for entity in answer["entities"]:
            assert text[entity["begin"]:entity["end"]] == entity["text"] == " ".join(row["words"][entity["wordBegin"]:entity["wordEnd"]])
            scores = [word["score"] for word in answer["words"][entity["wordBegin"]:entity["wordEnd"]]]
            assert entity["score"] == pytest.approx(sum(scores) / len(scores), abs=1e-6)
    # As PEFT has it.
    import torch
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification, AutoTokenizer
    tenon.text("adapters", "export", "tagger", tmp_path / "peft")
    model = PeftModel.from_pretrained(AutoModelForTokenClassification.from_pretrained(tiny_base, num_labels=5), tmp_path / "peft").eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    for answer, row in zip(answers[:8], rows):
        batch = tokenizer(row["words"], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            shares = model(**batch).logits[0].softmax(-1)
        places = [batch.word_ids().index(i) for i in range(len(row["words"]))]
        assert [word["tag"] for word in answer["words"]] == [TAGS[shares[place].argmax()] for place in places]
        assert [word["score"] for word in answer["words"]] == pytest.approx([shares[place].max().item() for place in places], abs=1e-4)
    # PEFT's files alone come back, under names for their labels.
    (tmp_path / "peft/tenon.json").unlink()
    tenon.json("adapters", "import", tmp_path / "peft", "--base", "tiny", "--id", "again", "--labels", ",".join(TAGS))
    again = tenon.lines("tag", "--adapter", "again", "--input", words_file)
    assert [[word["tag"] for word in one["words"]] for one in again] == [[word["tag"] for word in one["words"]] for one in answers]


def test_texts_are_cut_into_words(tenon, tagger):
    text = "¿the “invoice refund”, and the truck!"
    answer = tenon.json("tag", "--adapter", "tagger", text)
    assert [word["word"] for word in answer["words"]] == ["¿", "the", "“", "invoice", "refund", "”", ",", "and", "the", "truck", "!"]
    assert all(text[word["begin"]:word["end"]] == word["word"] for word in answer["words"])
    assert {(one["type"], one["text"]) for one in answer["entities"]} >= {("WAY", "truck")}


def test_a_text_longer_than_the_model_has_windows(tenon, tagger, tmp_path):
    rows = tagged_rows(40, 13)
    words, tags = ([item for row in rows for item in row[key]] for key in ("words", "tags"))
    file = tiny.write_jsonl(tmp_path / "long.jsonl", [{"words": words}])
    answer = tenon.lines("tag", "--adapter", "tagger", "--input", file)[0]
    assert answer["windows"] > 2 and len(answer["words"]) == len(words) > 128
    assert sum(word["tag"] == tag for word, tag in zip(answer["words"], tags)) > 0.9 * len(words)


def test_a_chain_of_tags(tenon, files, tmp_path):
    job = finetune(tenon, "chained", "token_classification", files["tags"], files["tags-test"], "--set", "epochs=10", "--set", "crf=true")
    assert metrics(job["result"]["best"])["f1"] > 0.9 and job["tokenClassification"]["crf"] is True
    measured = tenon.json("jobs", "evaluate", "--adapter", "chained", "--task", "token_classification", "--data", files["tags-test"], "--wait")["results"][0]
    assert metrics(measured["metrics"])["f1"] == pytest.approx(metrics(job["result"]["best"])["f1"], abs=1e-6)
    answer = tenon.json("tag", "--adapter", "chained", "the invoice refund was late")
    assert all(0 < word["score"] <= 1 for word in answer["words"])
    tenon.text("adapters", "export", "chained", tmp_path / "chained")
    tenon.json("adapters", "import", tmp_path / "chained", "--base", "tiny", "--id", "chained-again")
    assert tenon.json("tag", "--adapter", "chained-again", "the invoice refund was late")["words"] == answer["words"]
    _, error = tenon.error("adapters", "export", "chained", tmp_path / "merged", "--merged")
    assert error["reason"] == "UNSUPPORTED"


def test_answers_are_learnt_and_measured(tenon, reader, files):
    best, untrained = metrics(reader["result"]["best"]), metrics(reader["result"]["untrained"])
    assert best["f1"] > 0.9 and untrained["f1"] < 0.5
    measured = tenon.json("jobs", "evaluate", "--adapter", "reader", "--task", "question_answering", "--data", files["questions-test"], "--wait")["results"][0]
    found = metrics(measured["metrics"])
    assert found["f1"] == pytest.approx(best["f1"], abs=1e-6) and found["exact_match"] == pytest.approx(best["exact_match"], abs=1e-6)
    assert {"with_answer_f1", "without_answer_exact_match"} <= set(found)


def test_answer_finds_places(tenon, reader, files, tmp_path):
    rows = question_rows(60, 31)
    answers = tenon.lines("answer", "--adapter", "reader", "--input", files["questions-test"], "--no-answer-threshold", "0", "--top-k", "3")
    right = 0
    for row, answer in zip(rows, answers, strict=True):
        assert row["context"][answer["begin"]:answer["end"]] == answer["answer"]
        assert len(answer["spans"]) == 3 and answer["spans"][0]["score"] >= answer["spans"][1]["score"]
        right += answer["answer"] == (row["answers"]["text"] or [""])[0]
        assert answer["noAnswer"] == (answer["answer"] == "")
    assert right > 50
    # Far into a context that is longer than the model, behind characters of several bytes.
    words = random.Random(3).choices(tiny.FILLER, k=300)
    context = "é“中” " + " ".join(words[:250]) + " invoice " + " ".join(words[250:])
    answer = tenon.json("answer", "--adapter", "reader", "--question", "what is it for", "--context", context)
    assert answer["windows"] > 2 and context[answer["begin"]:answer["end"]] == answer["answer"] == "invoice"


def test_full_makes_bases_for_both_tasks(tenon, files, tmp_path):
    finetune(tenon, "tags-whole", "token_classification", files["tags"], files["tags-test"], "--set", "learning_rate=1e-3", "--set", "epochs=2", method="full")
    finetune(tenon, "read-whole", "question_answering", files["questions"], files["questions-test"], "--set", "learning_rate=1e-3", "--set", "epochs=1", method="full")
    tasks = {one["name"]: one["tasks"] for one in tenon.json("bases", "list")["bases"]}
    assert tasks["bases/tags-whole"] == ["TASK_FEATURE_EXTRACTION", "TASK_TOKEN_CLASSIFICATION"]
    assert tasks["bases/read-whole"] == ["TASK_FEATURE_EXTRACTION", "TASK_QUESTION_ANSWERING"]
    assert len(tenon.json("tag", "--base", "tags-whole", "the invoice was late")["words"]) == 4
    answer = tenon.json("answer", "--base", "read-whole", "--question", "what is it for", "--context", "the invoice was late")
    assert answer["answer"]
    _, error = tenon.error("classify", "--base", "tags-whole", "the invoice")
    assert error["reason"] == "NO_CLASSIFIER"


def test_merged_copies_open_in_transformers(tenon, tagger, reader, tmp_path):
    from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification
    tenon.text("adapters", "export", "tagger", tmp_path / "tagger", "--merged")
    config = AutoModelForTokenClassification.from_pretrained(tmp_path / "tagger").config
    assert [config.id2label[i] for i in range(5)] == TAGS and config.architectures == ["BertForTokenClassification"]
    tenon.json("bases", "add", "merged-tagger", tmp_path / "tagger")
    ours, theirs = (tenon.json("tag", *model, "the invoice refund and the truck") for model in (["--adapter", "tagger"], ["--base", "merged-tagger"]))
    assert [word["tag"] for word in ours["words"]] == [word["tag"] for word in theirs["words"]]
    assert [word["score"] for word in ours["words"]] == pytest.approx([word["score"] for word in theirs["words"]], abs=1e-4)
    tenon.text("adapters", "export", "reader", tmp_path / "reader", "--merged")
    assert AutoModelForQuestionAnswering.from_pretrained(tmp_path / "reader").config.architectures == ["BertForQuestionAnswering"]


BROKEN = {
    "tags": ({"words": ["a", "b"], "tags": ["O"]}, "row 2, column tags"),
    "prefix": ({"words": ["a"], "tags": ["S-PER"]}, "row 2, column tags"),
    "iob1": ({"words": ["a", "b"], "tags": ["O", "I-PER"]}, "row 2, column tags"),
    "number": ({"words": ["a", 1], "tags": ["O", "O"]}, "row 2, column words"),
    "nothing": ({"words": [], "tags": []}, "row 2, column words"),
    "elsewhere": ({"question": "q", "context": "a b c", "answers": {"text": ["b"], "answer_start": [0]}}, "row 2, column answers"),
    "beyond": ({"question": "q", "context": "a b c", "answers": {"text": ["c"], "answer_start": [99]}}, "row 2, column answers"),
    "uneven": ({"question": "q", "context": "a b c", "answers": {"text": ["b"], "answer_start": []}}, "row 2, column answers"),
    "no question": ({"context": "a b c", "answers": {"text": [], "answer_start": []}}, "row 2, column question"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_named_and_nothing_stored(tenon, tmp_path, name):
    row, field = BROKEN[name]
    good = tagged_rows(1, 1)[0] if "words" in row else question_rows(1, 1)[0]
    file = tiny.write_jsonl(tmp_path / "broken.jsonl", [good, row])
    before = tenon.json("datasets", "list")["datasets"]
    _, error = tenon.error("datasets", "add", "broken", file)
    assert error["reason"] == "DATASET_INVALID" and error["field"] == field
    assert tenon.json("datasets", "list")["datasets"] == before


def test_tags_and_tasks_that_do_not_fit(tenon, tagger, reader, files, tmp_path):
    unknown = tiny.write_jsonl(tmp_path / "unknown.jsonl", [{"words": ["a"], "tags": ["O"]}, {"words": ["a"], "tags": ["B-XYZ"]}])
    submit = lambda *more: tenon.error("jobs", "finetune", "--base", "tiny", "--adapter", "none", "--method", "lora", *more)  # noqa: E731
    _, error = submit("--task", "token_classification", "--train", files["tags"], "--validation", unknown)
    assert error["reason"] == "LABEL_UNKNOWN" and "row 2, column tags" in error["field"]
    _, error = submit("--task", "token_classification", "--train", files["tags"], "--set", "labels=O,B-PAY,I-PAY")
    assert error["reason"] == "LABEL_UNKNOWN" and "column tags" in error["field"]
    _, error = submit("--task", "token_classification", "--train", files["questions"])
    assert error["reason"] == "DATASET_INVALID"
    _, error = submit("--task", "token_classification", "--train", files["tags"], "--set", "labels=O,PER")
    assert error["reason"] == "OPTION_INVALID" and error["field"] == "finetune_job.token_classification.labels[1]"
    _, error = submit("--task", "question_answering", "--train", files["questions"], "--set", "doc_stride=0")
    assert error["reason"] == "OPTION_INVALID" and error["field"] == "finetune_job.question_answering.doc_stride"
    # What only the model can tell: the job fails, and makes no adapter.
    long = tiny.write_jsonl(tmp_path / "long.jsonl", [*tagged_rows(4, 1), {"words": ["the"] * 200, "tags": ["O"] * 200}])
    code, error = submit("--task", "token_classification", "--train", long, "--wait")
    assert code != 0 and error["reason"] == "DATASET_INVALID" and error["field"] == "train row 5, column words"
    asked = tiny.write_jsonl(tmp_path / "asked.jsonl", [dict(question_rows(1, 1)[0], question="the " * 200)])
    code, error = submit("--task", "question_answering", "--train", asked, "--wait")
    assert code != 0 and error["reason"] == "TEXT_TOO_LARGE" and error["field"] == "train row 1, column question"
    assert "adapters/none" not in {one["name"] for one in tenon.json("adapters", "list")["adapters"]}
    _, error = tenon.error("answer", "--adapter", "reader", "--question", "the " * 200, "--context", "the invoice")
    assert error["reason"] == "TEXT_TOO_LARGE" and error["field"] == "row 1"
    for command in (["tag", "--adapter", "reader", "a"], ["answer", "--adapter", "tagger", "--question", "a", "--context", "b"], ["classify", "--adapter", "tagger", "a"]):
        _, error = tenon.error(*command)
        assert error["reason"] == "NO_CLASSIFIER" and error["field"] == "adapter"
    _, error = tenon.error("jobs", "evaluate", "--adapter", "reader", "--task", "token_classification", "--data", files["tags-test"])
    assert error["reason"] == "TASK_MISMATCH"


def test_flat_rows_of_answers(tenon, tmp_path):
    file = tmp_path / "flat.csv"
    file.write_text("question,context,answer,answer_start\nwhat,the invoice,invoice,4\nwhat,the box,,\n")
    dataset = tenon.json("datasets", "check", file)
    assert dataset["kind"] == "DATASET_KIND_ANSWERS" and dataset["rowCount"] == "2"

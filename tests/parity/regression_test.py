"""Regression against transformers, PEFT and scipy: losses step by step, values, files both ways, correlations."""

import json
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from engine_test import assert_close, engine, make_base, peft_model, texts  # noqa: E402, F401
from families import CLASSIFIERS, FAMILIES  # noqa: E402
from full_test import save_head  # noqa: E402
from pairs_test import ROOM, encode_rows, make_pair_base, mixed_rows, theirs_alone  # noqa: E402
from train_test import NO_DROPOUT, assert_losses, peft_losses, run_tool  # noqa: E402


def regressor(folder, outputs):
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=outputs, problem_type="regression", attn_implementation="eager")


def valued_rows(count, outputs):
    draw = random.Random(4)
    return [(row, tuple(draw.uniform(-1, 5) for _ in range(outputs))) for row in mixed_rows(count, seed=3)]


def encode_values(tokenizer, rows, labels, multi_label):
    batch = encode_rows(tokenizer, [row for row, _ in rows])
    batch["labels"] = torch.tensor([values for _, values in rows])
    return batch


def write_values(folder, outputs, rows, validation):
    entries = lambda some: [{"text": a, "text_pair": b, "values": list(values)} for (a, b), values in some]  # noqa: E731
    file = folder / "data.json"
    file.write_text(json.dumps({"labels": [f"LABEL_{i}" for i in range(outputs)], "regression": True,
                                "train": entries(rows), "validation": entries(validation)}))
    return file


def check_training(tmp_path, tokenizer, folder, model, outputs, options, rate, opens, **trained):
    """20 steps of `model` and of ours from the same beginning: losses, then values of what came out."""
    data = valued_rows(40, outputs)
    theirs = peft_losses(model, tokenizer, data, outputs, steps=20, rate=rate, encode_rows=encode_values, **trained)
    lines = run_tool(tmp_path, {
        "base": folder, "out": tmp_path / "out", "logits": True,
        "options": dict(shuffle=False, max_steps=20, learning_rate=rate, max_input_tokens=ROOM, **options),
        "data": write_values(tmp_path, outputs, data, data[:9]), "initial": tmp_path / "initial"})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    said = theirs_alone(tokenizer, opens(), [row for row, _ in data[:9]])
    assert_close(lines["logits"][0], said, tolerance=1e-4)
    best = [one for one in lines["evaluation"] if one["best"]][-1]
    truth = np.array([values for _, values in data[:9]])
    assert best["metrics"]["loss"] == pytest.approx(((np.array(said) - truth) ** 2).mean(), rel=1e-3)


@pytest.mark.parametrize("outputs, accumulation", [(1, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_lora_losses_equal_peft(tmp_path, family, outputs, accumulation):
    folder, tokenizer = make_pair_base(tmp_path / "base", family, **NO_DROPOUT)
    torch.manual_seed(0)
    targets = FAMILIES[family].lora({"names": ["query", "value"]})["names"]
    model = peft.get_peft_model(regressor(folder, outputs),
                                peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=targets))
    model.save_pretrained(tmp_path / "initial")
    check_training(tmp_path, tokenizer, folder, model, outputs,
                   dict(target_modules=targets, gradient_accumulation_steps=accumulation), 1e-3,
                   lambda: peft.PeftModel.from_pretrained(regressor(folder, outputs), tmp_path / "out").eval(),
                   accumulation=accumulation)
    tenon = json.loads((tmp_path / "out/tenon.json").read_text())
    assert tenon["problem_type"] == "regression" and len(tenon["labels"]) == outputs


def test_full_losses_equal_transformers(tmp_path):
    folder, tokenizer = make_pair_base(tmp_path / "base", "bert", **NO_DROPOUT)
    torch.manual_seed(0)
    model = regressor(folder, 1)
    save_head(tmp_path / "initial", model, ["LABEL_0"])
    decayed = set(transformers.Trainer.get_decay_parameter_names(None, model))
    check_training(tmp_path, tokenizer, folder, model, 1, dict(method="full"), 2e-4,
                   lambda: transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval(),
                   decays=decayed.__contains__)
    made = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert (made.config.problem_type, made.config.num_labels) == ("regression", 1)


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_one_output_of_peft_is_a_regression(engine, tmp_path, family):  # noqa: F811
    folder, tokenizer = make_pair_base(tmp_path / "base", family)
    targets = FAMILIES[family].lora({"names": ["query", "value"]})["names"]
    model = peft_model(folder, "SEQ_CLS", dict(r=4, lora_alpha=8, target_modules=targets), seed=1, labels=1)
    model.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    loaded = engine("adapter", name="a", folder=tmp_path / "adapter")
    assert loaded["config"]["problem_type"] == "regression" and loaded["config"]["labels"] == ["LABEL_0"]
    rows = mixed_rows(12, seed=5)
    ours = engine.infer([{"text": a, "text_pair": b, "adapter": "a", "output": "probabilities", "max_tokens": ROOM} for a, b in rows])
    assert_close(ours, theirs_alone(tokenizer, model, rows), tolerance=1e-4)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_base_with_a_regression_head(engine, tmp_path, outputs):  # noqa: F811
    folder, model, tokenizer = make_base(tmp_path / "base", labels=outputs, problem_type="regression")
    engine("base", folder=folder)
    some = texts(12)
    ours = engine.infer([{"text": one, "output": "probabilities"} for one in some])
    assert_close(ours, theirs_alone(tokenizer, model, [(one, "") for one in some]), tolerance=1e-4)


def test_scores_equal_scipy(tmp_path):
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(7)
    rows = draw.normal(2, 3, (400, 2)).astype(np.float32)
    tied = np.round(rows * 2 + draw.normal(0, 4, rows.shape)).astype(np.float32)  # many ranks are shared
    ours = run_tool(tmp_path, {"correlations": {"truth": tied.tolist(), "predicted": rows.tolist()}})["correlations"][0]
    assert ours["mse"] == pytest.approx(((rows.astype(np.float64) - tied) ** 2).mean(), rel=1e-6)
    for name, theirs in ("pearson", stats.pearsonr), ("spearman", stats.spearmanr):
        wanted = np.mean([theirs(tied[:, i].astype(np.float64), rows[:, i].astype(np.float64))[0] for i in range(2)])
        assert ours[name] == pytest.approx(wanted, abs=1e-9)
    flat = run_tool(tmp_path, {"correlations": {"truth": tied.tolist(), "predicted": np.ones_like(rows).tolist()}})
    assert set(flat["correlations"][0]) == {"mse"}

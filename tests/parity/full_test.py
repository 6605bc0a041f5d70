"""Full fine-tuning against transformers: losses step by step, the weights in the end, the folder that comes out."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")
from safetensors.torch import load_file, save_file  # noqa: E402

from engine_test import make_base  # noqa: E402
from families import FAMILIES, cases  # noqa: E402
from train_test import (NO_DROPOUT, ToolError, assert_losses, classifier, minilm, peft_losses, run_tool, toy_rows,  # noqa: E402
                        write_data)


def save_head(folder, model, labels, multi_label=False):
    """The model's new head as an adapter of Tenon's: so that both begin with the same numbers."""
    folder.mkdir()
    output = getattr(model.classifier, "out_proj", model.classifier)  # RoBERTa's has a dense layer below, which the base gives
    save_file({f"classifier.{name}": value.detach().clone() for name, value in output.named_parameters()},
              folder / "head.safetensors", {"format": "pt"})
    (folder / "tenon.json").write_text(json.dumps({"task": "sequence_classification", "method": "head", "labels": labels,
                                                   "multi_label": multi_label}))
    return folder


CASES = {
    "plain": {},
    "accumulation": dict(batch=4, accumulation=3, rows=26),
    "decay": dict(schedule="cosine", warmup=5, decay=0.1, rate=1e-3),
    "multi-label": dict(multi_label=True, labels=4),
    "prefixed": dict(base=dict(labels=2, prefix=True)),
    "relu": dict(base=dict(hidden_act="relu")),
}


# The loop's own cases are BERT's affair. Of others a base with a head: what of it stands below the labels both must begin with.
FAMILY_CASES = [case for case in cases(CASES) if case[0] == "bert" or case[1] in ("decay", "prefixed")]


@pytest.mark.parametrize("family, name", FAMILY_CASES)
def test_losses_equal_transformers(tmp_path, family, name):
    case = dict(CASES[name])
    labels, rows, base = case.pop("labels", 3), case.pop("rows", 40), case.pop("base", {})
    multi_label, rate = case.get("multi_label", False), case.pop("rate", 2e-4)
    if family != "bert":
        base["labels"] = 2
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, **NO_DROPOUT, **base)
    data = toy_rows(rows, labels, seed=3, multi_label=multi_label)
    names = [f"label-{i}" for i in range(labels)]
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=labels, attn_implementation="eager", ignore_mismatched_sizes=True,
        problem_type="multi_label_classification" if multi_label else "single_label_classification")
    head = save_head(tmp_path / "head", model, names, multi_label)
    decayed = set(transformers.Trainer.get_decay_parameter_names(None, model))
    embeddings = FAMILIES[family].prefix + "embeddings."
    assert embeddings + "word_embeddings.weight" in decayed and embeddings + "LayerNorm.weight" not in decayed
    theirs = peft_losses(model, tokenizer, data, labels, steps=20, rate=rate, decays=decayed.__contains__, **case)
    options = dict(method="full", shuffle=False, max_steps=20, batch_size=case.get("batch", 8), learning_rate=rate,
                   gradient_accumulation_steps=case.get("accumulation", 1), schedule=case.get("schedule", "linear"),
                   warmup_steps=case.get("warmup", 0), weight_decay=case.get("decay", 0.0))
    lines = run_tool(tmp_path, {"base": folder, "initial": head, "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, names, data, data[:7], multi_label), "logits": True})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == model.num_parameters()

    # The folder that came out opens in transformers, knows its labels, and gives the logits that Tenon gives.
    opened = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert type(opened).__name__ == FAMILIES[family].classifier
    assert opened.dtype == torch.float32
    assert opened.config.id2label == dict(enumerate(names)) and opened.config.num_labels == labels
    assert opened.config.problem_type == model.config.problem_type
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        for (text, _), ours in zip(data[:7], lines["logits"][0], strict=True):
            inputs = again(text, truncation=True, max_length=64, return_tensors="pt", return_token_type_ids=False)
            assert inputs.input_ids.tolist() == tokenizer(text, truncation=True, max_length=64, return_tensors="pt").input_ids.tolist()
            np.testing.assert_allclose(ours, opened(**inputs).logits[0].numpy(), atol=1e-4)
    # The same tensors as transformers writes, and both trainings went to the same place.
    model.save_pretrained(tmp_path / "theirs")
    ours, theirs = (load_file(tmp_path / which / "model.safetensors") for which in ("out", "theirs"))
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name].numpy(), value.numpy(), atol=10 * rate, err_msg=name)


def test_a_new_head_is_drawn_as_transformers_draws_it(tmp_path):
    folder, _, _ = make_base(tmp_path / "base", hidden_size=96)
    names = [f"label-{i}" for i in range(50)]
    data = toy_rows(50, 50, seed=1)
    run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": dict(method="full", max_steps=1, learning_rate=1e-30),
                        "data": write_data(tmp_path, names, data)})
    ours, base = load_file(tmp_path / "out/model.safetensors"), load_file(folder / "model.safetensors")
    head = ours["classifier.weight"]
    theirs = classifier(folder, 50).classifier.weight
    assert head.shape == theirs.shape and ours["classifier.bias"].abs().max() < 1e-20
    assert abs(head.std() - theirs.std()) < 0.002 and abs(head.mean()) < 0.002
    for name, value in base.items():
        np.testing.assert_array_equal(ours["bert." + name].numpy(), value.numpy())


def test_losses_equal_transformers_on_minilm(tmp_path):
    base = minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    data = [(f"{text} and {text}", label) for text, label in toy_rows(32, 3, seed=5)]
    torch.manual_seed(0)
    model = classifier(base, 3)
    names = ["a", "b", "c"]
    head = save_head(tmp_path / "head", model, names)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    decayed = set(transformers.Trainer.get_decay_parameter_names(None, model))
    theirs = peft_losses(model, tokenizer, data, 3, steps=8, rate=5e-5, decay=0.01, decays=decayed.__contains__)
    options = dict(method="full", shuffle=False, max_steps=8, base_dropout=0.0, max_input_tokens=64, learning_rate=5e-5, weight_decay=0.01)
    lines = run_tool(tmp_path, {"base": base, "initial": head, "options": options, "data": write_data(tmp_path, names, data)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)


def test_half_precision_is_refused(tmp_path):
    folder, _, _ = make_base(tmp_path / "base")
    with pytest.raises(ToolError) as raised:
        run_tool(tmp_path, {"base": folder, "data": write_data(tmp_path, ["a", "b"], toy_rows(4, 2, seed=1)),
                            "options": dict(method="full", max_steps=1, precision="bf16")})
    assert (raised.value.reason, raised.value.field) == ("OPTION_INVALID", "precision")

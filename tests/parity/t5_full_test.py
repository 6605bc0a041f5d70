"""Full fine-tuning of T5, T5 v1.1 and FLAN-T5 against transformers: losses step by step, the weights in the end, the folder."""

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")
from safetensors.torch import load_file, save_file  # noqa: E402

from t5_test import START, TIED, TOLERANCE, Tool, make_model, save_model, teacher  # noqa: E402
from t5_train_test import ids, pairs, peft_losses, score, write_data  # noqa: E402
from train_test import ToolError, assert_losses, run_tool  # noqa: E402

CASES = {
    "plain": {},
    "accumulation": dict(size=4, accumulation=3, rows=26),
    "decay": dict(schedule="cosine", warmup=5, decay=0.1, rate=1e-3),
}


def logits_of(folder, rows):
    """Tenon's, of the folder as a base: [(source, tokens, logits)]."""
    tool = Tool()
    tool("base", folder=folder)
    asked = [{"source": ids(row["input"], 512), "tokens": [START, *ids(row["target"], 128)[:-1]]} for row in rows]
    replies = tool("logits", rows=asked)["rows"]
    tool.close()
    return [(row["source"], row["tokens"], np.asarray(reply)) for row, reply in zip(asked, replies, strict=True)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["t5", "v1.1", "flan", "narrow"])
def test_losses_equal_transformers(tmp_path, kind, name):
    case = dict(CASES[name])
    rows, rate = case.pop("rows", 40), case.pop("rate", 2e-4)
    base = make_model(kind)
    folder = save_model(base, tmp_path / "base", kind)
    (folder / "generation_config.json").write_text('{"num_beams": 2,\n "decoder_start_token_id": 0, "eos_token_id": 1}')
    train, validation = pairs(rows, seed=3), pairs(12, seed=4)
    model = copy.deepcopy(base)
    untrained = score(model, validation)
    decayed = set(transformers.Trainer.get_decay_parameter_names(None, model))
    assert "shared.weight" in decayed and not any("layer_norm" in n or "relative_attention_bias" in n for n in decayed)
    theirs = peft_losses(model, train, steps=20, rate=rate, decays=decayed.__contains__, **case)
    options = dict(method="full", shuffle=False, max_steps=20, eval_steps=0, batch_size=case.get("size", 8), learning_rate=rate,
                   gradient_accumulation_steps=case.get("accumulation", 1), schedule=case.get("schedule", "linear"),
                   warmup_steps=case.get("warmup", 0), weight_decay=case.get("decay", 0.0), max_input_tokens=512, max_target_tokens=128)
    out = tmp_path / "out"
    lines = run_tool(tmp_path, {"base": folder, "out": out, "options": options, "data": write_data(tmp_path, train, validation)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == sum(p.numel() for p in model.parameters())
    for evaluation, (loss, accuracy) in zip(lines["evaluation"], [untrained, score(model, validation)], strict=True):
        assert evaluation["metrics"]["loss"] == pytest.approx(loss, rel=1e-3)
        assert evaluation["metrics"]["token_accuracy"] == pytest.approx(accuracy, abs=0.02)

    # The folder that came out opens in transformers, and gives the logits that Tenon gives of it.
    opened = transformers.AutoModelForSeq2SeqLM.from_pretrained(out).eval()
    assert type(opened).__name__ == "T5ForConditionalGeneration" and opened.dtype == torch.float32
    assert (opened.lm_head.weight.data_ptr() == opened.shared.weight.data_ptr()) == (kind in TIED)
    for source, tokens, logits in logits_of(out, validation):
        np.testing.assert_allclose(logits, teacher(opened, source, tokens), atol=TOLERANCE)
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (out / file).read_bytes() == (folder / file).read_bytes()
    # The tensors of the base's file, and both trainings went to the same place.
    ours, before = load_file(out / "model.safetensors"), load_file(folder / "model.safetensors")
    assert {n: value.shape for n, value in ours.items()} == {n: value.shape for n, value in before.items()}
    for parameter, value in model.named_parameters():
        np.testing.assert_allclose(ours[parameter].numpy(), value.detach().numpy(), atol=10 * rate, err_msg=parameter)


@pytest.mark.parametrize("says_tied", [True, False])
def test_an_output_layer_that_is_the_embedding_stays_one_with_it(tmp_path, says_tied):
    """The file has it twice: transformers 5 ties what is equal, whatever config.json says, which decides about scaling alone."""
    base = make_model("t5" if says_tied else "flan")
    with torch.no_grad():
        base.lm_head.weight = base.shared.weight
    folder = save_model(base, tmp_path / "base", "t5" if says_tied else "flan")
    state = load_file(folder / "model.safetensors")
    save_file({**state, "lm_head.weight": state["shared.weight"].clone()}, folder / "model.safetensors", {"format": "pt"})
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert model.lm_head.weight.data_ptr() == model.shared.weight.data_ptr()
    train = pairs(40, seed=3)
    theirs = peft_losses(model, train, steps=20, rate=2e-4)
    options = dict(method="full", shuffle=False, max_steps=20, batch_size=8, learning_rate=2e-4)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": options, "data": write_data(tmp_path, train)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == sum(p.numel() for p in model.parameters())
    opened = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    for source, tokens, logits in logits_of(tmp_path / "out", train[:6]):
        np.testing.assert_allclose(logits, teacher(opened, source, tokens), atol=TOLERANCE)


def test_what_transformers_saves_itself(tmp_path):
    """config.json with `scale_decoder_outputs`, a file with every copy that save_pretrained leaves."""
    model = make_model("flan")
    folder = save_model(model, tmp_path / "base", "flan")
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    train = pairs(16, seed=3)
    options = dict(method="full", shuffle=False, max_steps=4, batch_size=8, learning_rate=2e-4)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": options, "data": write_data(tmp_path, train)})
    assert_losses([step["loss"] for step in lines["progress"]], peft_losses(model, train, steps=4, rate=2e-4))
    opened = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    assert opened.config.scale_decoder_outputs == saved["scale_decoder_outputs"]
    for source, tokens, logits in logits_of(tmp_path / "out", train[:6]):
        np.testing.assert_allclose(logits, teacher(opened, source, tokens), atol=TOLERANCE)


def test_half_precision_is_refused(tmp_path):
    folder = save_model(make_model("t5"), tmp_path / "base", "t5")
    with pytest.raises(ToolError) as raised:
        run_tool(tmp_path, {"base": folder, "data": write_data(tmp_path, pairs(4, seed=1)),
                            "options": dict(method="full", max_steps=1, precision="bf16")})
    assert (raised.value.reason, raised.value.field) == ("OPTION_INVALID", "precision")

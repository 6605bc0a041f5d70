"""Pairs of texts against transformers and PEFT: logits of pairs and single texts in one batch, losses step by step."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from engine_test import PROMPTS, EngineError, assert_close, engine, lora_config, make_base, peft_model, texts  # noqa: E402, F401
from families import CLASSIFIERS, FAMILIES  # noqa: E402
from train_test import NO_DROPOUT, assert_losses, classifier, new_peft, peft_losses, run_tool  # noqa: E402

ROOM = 64


def make_pair_base(folder, family, **changes):
    """Of a family without types, or with one, the tokenizer gives none: `model_input_names` says so, as in their own folders."""
    folder, _, tokenizer = make_base(folder, family=family, **changes)
    if family != "bert":
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": ["input_ids", "attention_mask"]}))
        tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    assert ("token_type_ids" in tokenizer("a", "b")) == (family == "bert")
    return folder, tokenizer


def mixed_rows(count, seed):
    """(text, second text or ""): short and long ones, so that either is cut, or both, or none."""
    first, second = texts(count, seed=seed), texts(count, seed=seed + 1, longest=60)
    return [(a, "" if i % 3 == 2 else b) for i, (a, b) in enumerate(zip(first, second))]


def encode_rows(tokenizer, rows):
    """A batch of rows, some of them pairs: transformers encodes one kind at a time."""
    some = [tokenizer(*(text for text in row if text), truncation=True, max_length=ROOM) for row in rows]
    return tokenizer.pad(some, return_tensors="pt")


def theirs_alone(tokenizer, model, rows):
    with torch.no_grad():
        return [model(**encode_rows(tokenizer, [row])).logits.numpy()[0] for row in rows]


def as_rows(rows, **fields):
    return [{"text": a, **({"text_pair": b} if b else {}), "max_tokens": ROOM, **fields} for a, b in rows]


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_logits_of_pairs_equal_peft(engine, tmp_path, family):  # noqa: F811
    folder, tokenizer = make_pair_base(tmp_path / "base", family, max_position_embeddings=96)
    engine("base", folder=folder)
    rows = mixed_rows(24, seed=2)
    configs = {"lora": lora_config(family, "plain"), **PROMPTS}
    logits = {}
    for name, config in configs.items():
        model = peft_model(folder, "SEQ_CLS", config, seed=1)
        model.save_pretrained(tmp_path / name)
        engine("adapter", name=name, folder=tmp_path / name)
        logits[name] = theirs_alone(tokenizer, model, rows)
        assert_close(engine.infer(as_rows(rows, adapter=name, output="logits")), logits[name], tolerance=1e-4)
    # A second text changes the answer, and so does its place.
    turned = engine.infer(as_rows([(b, a) if b else (a, b) for a, b in rows], adapter="lora", output="logits"))
    alone = engine.infer(as_rows([(a, "") for a, _ in rows], adapter="lora", output="logits"))
    pairs = [i for i, (_, b) in enumerate(rows) if b]
    assert all(np.abs(np.array(other[i]) - logits["lora"][i]).max() > 1e-3 for other in (turned, alone) for i in pairs)
    # All of them in one batch.
    names = [list(configs)[i % len(configs)] for i in range(len(rows))]
    mixed = [{**row, "adapter": name} for row, name in zip(as_rows(rows, output="logits"), names)]
    assert_close(engine.infer(mixed), [logits[name][i] for i, name in enumerate(names)], tolerance=1e-4)


def test_a_base_with_one_token_type_refuses_the_second(engine, tmp_path):  # noqa: F811
    folder, _, _ = make_base(tmp_path / "base", labels=2, type_vocab_size=1)
    engine("base", folder=folder)
    assert len(engine.infer([{"text": "tea", "output": "logits"}])) == 1
    with pytest.raises(EngineError) as error:
        engine.infer([{"text": "tea", "output": "logits"}, {"text": "tea", "text_pair": "bread", "output": "logits"}])
    assert error.value.reason == "UNSUPPORTED" and error.value.field == "rows[1]"


def write_pairs(folder, labels, rows, validation):
    entries = lambda some: [{"text": a, "text_pair": b, "labels": list(label)} for (a, b), label in some]  # noqa: E731
    file = folder / "data.json"
    file.write_text(json.dumps({"labels": labels, "train": entries(rows), "validation": entries(validation)}))
    return file


def labelled_pairs(count, labels):
    return [(row, (i * 7 % labels,)) for i, row in enumerate(mixed_rows(count, seed=3))]


def encode_pairs(tokenizer, rows, labels, multi_label):
    batch = encode_rows(tokenizer, [row for row, _ in rows])
    batch["labels"] = torch.tensor([label[0] for _, label in rows])
    return batch


def check_training(tmp_path, tokenizer, folder, model, labels, options, trained, rate, opens):
    """20 steps of `model` and of ours from the same beginning: losses, then logits of what came out."""
    data = labelled_pairs(40, labels)
    theirs = peft_losses(model, tokenizer, data, labels, steps=20, rate=rate, encode_rows=encode_pairs, **trained)
    lines = run_tool(tmp_path, {
        "base": folder, "out": tmp_path / "out", "logits": True,
        "options": dict(shuffle=False, max_steps=20, learning_rate=rate, max_input_tokens=ROOM, **options),
        "data": write_pairs(tmp_path, [f"label-{i}" for i in range(labels)], data, data[:9]),
        "initial": tmp_path / "initial"})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert_close(lines["logits"][0], theirs_alone(tokenizer, opens(), [row for row, _ in data[:9]]), tolerance=1e-4)


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_lora_losses_equal_peft(tmp_path, family):
    folder, tokenizer = make_pair_base(tmp_path / "base", family, **NO_DROPOUT)
    model = new_peft(folder, 3, family=family)
    model.save_pretrained(tmp_path / "initial")
    targets = FAMILIES[family].lora({"names": ["query", "value"]})["names"]
    check_training(tmp_path, tokenizer, folder, model, 3, dict(target_modules=targets), {}, 1e-3,
                   lambda: peft.PeftModel.from_pretrained(classifier(folder, 3), tmp_path / "out").eval())


def test_prompt_losses_equal_peft(tmp_path):
    folder, tokenizer = make_pair_base(tmp_path / "base", "bert", max_position_embeddings=96, **NO_DROPOUT)
    torch.manual_seed(0)
    model = peft.get_peft_model(classifier(folder, 3), peft.PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=6, token_dim=48, num_layers=3, num_attention_heads=4))
    model.save_pretrained(tmp_path / "initial")
    check_training(tmp_path, tokenizer, folder, model, 3, dict(method="prompt_tuning", num_virtual_tokens=6), {}, 1e-2,
                   lambda: peft.PeftModel.from_pretrained(classifier(folder, 3), tmp_path / "out").eval())


def test_full_losses_equal_transformers(tmp_path):
    """The embeddings of both token types are trained."""
    from full_test import save_head
    folder, tokenizer = make_pair_base(tmp_path / "base", "bert", **NO_DROPOUT)
    torch.manual_seed(0)
    model = classifier(folder, 3)
    save_head(tmp_path / "initial", model, [f"label-{i}" for i in range(3)])
    before = model.bert.embeddings.token_type_embeddings.weight.detach().clone()
    decayed = set(transformers.Trainer.get_decay_parameter_names(None, model))
    check_training(tmp_path, tokenizer, folder, model, 3, dict(method="full"), dict(decays=decayed.__contains__), 2e-4,
                   lambda: transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval())
    made = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    after = made.bert.embeddings.token_type_embeddings.weight.detach()
    assert (np.abs((after - before).numpy()).max(1) > 1e-4).all()
    np.testing.assert_allclose(after.numpy(), model.bert.embeddings.token_type_embeddings.weight.detach().numpy(), atol=2e-3)

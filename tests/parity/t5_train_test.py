"""Training T5, T5 v1.1 and FLAN-T5 against transformers, PEFT and AdapterHub's library: losses step by step, metrics, adapters,
parameter counts."""

import copy
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

import json  # noqa: E402

from bottleneck_test import peer  # noqa: E402, F401
from t5_test import EOS, PAD, START, TOLERANCE, Tool, make_model, save_model, teacher  # noqa: E402
from train_test import ToolError, assert_losses, run_tool  # noqa: E402

IGNORED = -100


def pairs(count, seed):
    """Words of letters, of many lengths on both sides."""
    draw = random.Random(seed)
    word = lambda: "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(1, 6)))
    text = lambda words: " ".join(word() for _ in range(words))
    return [{"input": text(draw.randint(1, 9)), "target": text(draw.randint(1, 4))} for _ in range(count)]


def ids(text, limit):
    """As the tokenizer of t5_test.py: single letters, each word behind its space; cut so that the end stays."""
    tokens = [token for word in text.split() for token in [3, *(ord(letter) - ord("a") + 4 for letter in word)]]
    return tokens[: limit - 1] + [EOS]


def batch(rows, input_tokens, target_tokens):
    """Padded tensors; what is padded of the labels is left out of the loss."""
    sources, targets = [ids(row["input"], input_tokens) for row in rows], [ids(row["target"], target_tokens) for row in rows]
    pad = lambda lists, value: torch.tensor([one + [value] * (max(map(len, lists)) - len(one)) for one in lists])
    inputs = pad(sources, PAD)
    mask = pad([[1] * len(source) for source in sources], 0)
    return dict(input_ids=inputs, attention_mask=mask, labels=pad(targets, IGNORED))


def grouped(rows, size, accumulation):
    """Micro-batches of each step, over and over; a step never spans two epochs."""
    while True:
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        for i in range(0, len(parts), accumulation):
            yield parts[i : i + accumulation]


def peft_losses(model, rows, steps, size=8, accumulation=1, rate=1e-3, schedule="linear", warmup=0, decay=0.0, tokens=(512, 128),
                decays=lambda name: True):
    """A plain PyTorch loop over the rows in their order; the loss is a mean over the step's target tokens, as transformers' Trainer
    makes it with num_items_in_batch. `decays` tells by name which parameters weight decay is for."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[bool(decays(name))].append(parameter)
    optimizer = torch.optim.AdamW([dict(params=groups[True], weight_decay=decay), dict(params=groups[False], weight_decay=0.0)], lr=rate)
    scheduler = transformers.get_scheduler(schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    losses = []
    for step in grouped(rows, size, accumulation):
        parts = [batch(part, *tokens) for part in step]
        count = sum(int((part["labels"] != IGNORED).sum()) for part in parts)
        total = 0.0
        for part in parts:
            loss = model(**part).loss * int((part["labels"] != IGNORED).sum()) / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(total)
        if len(losses) == steps:
            return losses


@torch.no_grad()
def score(model, rows):
    """Loss by target token, and the share of them that is likeliest."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for row in rows:
        one = batch([row], 512, 128)
        out = model(**one)
        loss += out.loss.item() * one["labels"].numel()
        right += int((out.logits.argmax(-1) == one["labels"]).sum())
        count += one["labels"].numel()
    return loss / count, right / count


def new_peft(model, **lora):
    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", **{**dict(r=8, lora_alpha=16, target_modules=["q", "v"]), **lora})
    return peft.get_peft_model(model, config)


def write_data(folder, train, validation=()):
    file = folder / "data.json"
    file.write_text(json.dumps({"train": train, "validation": list(validation)}))
    return file


def served(folder, adapter, rows):
    tool = Tool()
    tool("base", folder=folder)
    tool("adapter", name="out", folder=adapter)
    asked = [{"source": ids(row["input"], 512), "tokens": [START, *ids(row["target"], 128)[:-1]], "adapter": "out"} for row in rows]
    replies = tool("logits", rows=asked)["rows"]
    tool.close()
    return asked, [np.asarray(reply) for reply in replies]


CASES = {
    "plain": {},
    "accumulation": dict(size=4, accumulation=3, rows=26),
    "cosine": dict(schedule="cosine", warmup=5, decay=0.1, rate=5e-3),
    "cut": dict(tokens=(9, 5)),
    "all-linear": dict(lora=dict(target_modules="all-linear", r=4, lora_alpha=4)),
    "rslora": dict(lora=dict(use_rslora=True, target_modules=["EncDecAttention.k", "wo"])),
    "saved": dict(lora=dict(modules_to_save=["decoder.block.1.layer.1.EncDecAttention.k", "layer.0.SelfAttention.o"])),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["t5", "v1.1", "flan", "narrow"])
def test_losses_equal_peft(tmp_path, kind, name):
    case = dict(CASES[name])
    lora, rows, tokens = case.pop("lora", {}), case.pop("rows", 40), case.get("tokens", (512, 128))
    base = make_model(kind)
    folder = save_model(base, tmp_path / "base", kind)
    train, validation = pairs(rows, seed=3), pairs(12, seed=4)
    model = new_peft(copy.deepcopy(base), **lora)
    model.save_pretrained(tmp_path / "initial")
    untrained = score(model, validation)
    theirs = peft_losses(model, train, steps=20, **case)
    targets = lora.get("target_modules", ["q", "v"])
    options = dict(shuffle=False, max_steps=20, eval_steps=0, batch_size=case.get("size", 8), learning_rate=case.get("rate", 1e-3),
                   gradient_accumulation_steps=case.get("accumulation", 1), schedule=case.get("schedule", "linear"),
                   warmup_steps=case.get("warmup", 0), weight_decay=case.get("decay", 0.0), r=lora.get("r", 8),
                   alpha=lora.get("lora_alpha", 16), use_rslora=lora.get("use_rslora", False), all_linear=targets == "all-linear",
                   modules_to_save=lora.get("modules_to_save", []), max_input_tokens=tokens[0], max_target_tokens=tokens[1])
    if targets != "all-linear":
        options["target_modules"] = targets
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, train, validation)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == model.get_nb_trainable_parameters()[0]
    kinds = [evaluation["kind"] for evaluation in lines["evaluation"]]
    assert kinds == ["untrained", "validation"]
    if name != "cut":
        for evaluation, (loss, accuracy) in zip(lines["evaluation"], [untrained, score(model, validation)]):
            assert evaluation["metrics"]["loss"] == pytest.approx(loss, rel=1e-3)
            # A tie between two tokens may fall either way.
            assert evaluation["metrics"]["token_accuracy"] == pytest.approx(accuracy, abs=0.02)
    # The adapter that came out opens in PEFT, and both give the same logits.
    opened = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "out").eval()
    for row, reply in zip(*served(folder, tmp_path / "out", validation), strict=True):
        np.testing.assert_allclose(reply, teacher(opened, row["source"], row["tokens"]), atol=TOLERANCE)
    # Both trainings went to the same place.
    there = dict(opened.named_parameters())
    for parameter, value in model.named_parameters():
        if value.requires_grad:
            np.testing.assert_allclose(value.detach().numpy(), there[parameter].detach().numpy(), atol=3e-3)


@pytest.mark.parametrize("kind", ["t5", "v1.1", "narrow"])
def test_prompt_losses_equal_peft(tmp_path, kind):
    base = make_model(kind)
    folder = save_model(base, tmp_path / "base", kind)
    train, validation = pairs(40, seed=3), pairs(8, seed=4)
    torch.manual_seed(0)
    config = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=6, num_transformer_submodules=1)
    model = peft.get_peft_model(copy.deepcopy(base), config)
    model.save_pretrained(tmp_path / "initial")
    theirs = peft_losses(model, train, steps=20, rate=1e-2, decay=0.1)
    options = dict(method="prompt_tuning", num_virtual_tokens=6, shuffle=False, max_steps=20, learning_rate=1e-2, weight_decay=0.1)
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, train)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    opened = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "out").eval()
    for row, reply in zip(*served(folder, tmp_path / "out", validation), strict=True):
        np.testing.assert_allclose(reply, teacher(opened, row["source"], row["tokens"]), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["seq_bn", "double_seq_bn", "par_bn"])
@pytest.mark.parametrize("kind", ["t5", "v1.1"])
def test_bottleneck_losses_equal_adapters(peer, tmp_path, kind, layout):  # noqa: F811
    folder = save_model(make_model(kind), tmp_path / "base", kind)
    train, validation = pairs(40, seed=3), pairs(8, seed=4)
    made = peer(do="make_t5", base=folder, config=dict(layout=layout, reduction_factor=4), spread=0.05, out=tmp_path / "initial")
    rows = [{"source": ids(row["input"], 512), "target": ids(row["target"], 128)} for row in train]
    theirs = peer(do="train_t5", base=folder, adapter=tmp_path / "initial", rows=rows, steps=20, batch=8, rate=1e-3)["losses"]
    options = dict(method="bottleneck", layout=layout, reduction_factor=4, shuffle=False, max_steps=20)
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, train)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == made["parameters"]
    asked, replies = served(folder, tmp_path / "out", validation)
    opened = peer(do="t5_logits", base=folder, adapter=tmp_path / "out", rows=asked)["rows"]
    for reply, expected in zip(replies, opened, strict=True):
        np.testing.assert_allclose(reply, np.asarray(expected), atol=TOLERANCE)


def test_an_output_layer_of_its_own_can_be_adapted(tmp_path):
    base = make_model("flan")
    folder = save_model(base, tmp_path / "base", "flan")
    train = pairs(24, seed=5)
    model = new_peft(copy.deepcopy(base), target_modules=["q", "lm_head"])
    model.save_pretrained(tmp_path / "initial")
    theirs = peft_losses(model, train, steps=10)
    options = dict(shuffle=False, max_steps=10, r=8, alpha=16, target_modules=["q", "lm_head"])
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "options": options, "data": write_data(tmp_path, train)})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)


def test_a_bf16_base_stays_near(tmp_path):
    """fp32 adapters on a base whose weights were rounded: PEFT in fp32 on the same rounded weights."""
    base = make_model("flan")
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(parameter.bfloat16().float())
    folder = save_model(base, tmp_path / "base", "flan")
    train = pairs(40, seed=6)
    model = new_peft(copy.deepcopy(base))
    model.save_pretrained(tmp_path / "initial")
    theirs = peft_losses(model, train, steps=20)
    options = dict(shuffle=False, max_steps=20, r=8, alpha=16, target_modules=["q", "v"], precision="bf16")
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "options": options, "data": write_data(tmp_path, train)})
    for ours, other in zip([step["loss"] for step in lines["progress"]], theirs, strict=True):
        assert ours == pytest.approx(other, rel=0.03)


@pytest.mark.parametrize("r,count", [(8, 344_064), (32, 1_376_256)])
def test_trainable_counts_of_flan_t5_small(tmp_path, r, count):
    """Its attention's shapes; a small vocabulary and a narrow feed-forward change no adapter on q and v."""
    folder = save_model(make_model("v1.1", d_model=512, d_kv=64, num_heads=6, num_layers=8, num_decoder_layers=8, d_ff=16),
                        tmp_path / "base", "v1.1")
    options = dict(max_steps=1, batch_size=2, r=r, target_modules=["q", "v"])
    lines = run_tool(tmp_path, {"base": folder, "options": options, "data": write_data(tmp_path, pairs(2, seed=1))})
    assert lines["done"][0]["trainable_parameters"] == count


def test_errors_name_what_is_wrong(tmp_path):
    folder = save_model(make_model("t5"), tmp_path / "base", "t5")

    def error(train, **options):
        with pytest.raises(ToolError) as raised:
            run_tool(tmp_path, {"base": folder, "data": write_data(tmp_path, train),
                                "options": {"max_steps": 1, "target_modules": ["q", "v"], **options}})
        return raised.value.reason, raised.value.field

    rows = pairs(3, seed=1)
    assert error(rows, max_target_tokens=1) == ("OPTION_INVALID", "max_target_tokens")
    assert error(rows, metric_for_best="accuracy") == ("OPTION_INVALID", "metric_for_best")
    assert error(rows, target_modules=["query"]) == ("OPTION_INVALID", "target_modules")
    assert error(rows, target_modules=["q", "lm_head"]) == ("UNSUPPORTED", "target_modules")
    assert error(rows, modules_to_save=["shared"]) == ("UNSUPPORTED", "modules_to_save")
    assert error([*rows, {"input": "a", "target": " "}]) == ("DATASET_INVALID", "train row 4")
    assert error([]) == ("DATASET_INVALID", "train")

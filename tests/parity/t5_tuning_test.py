"""Prompts and bottlenecks on T5, T5 v1.1 and FLAN-T5 against PEFT and AdapterHub's library: files both ways, logits, generated
tokens, and batches in which they stand beside LoRAs and the base."""

import json
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from bottleneck_test import peer  # noqa: E402, F401
from t5_test import (EOS, SHAPES, START, VOCAB, Pair, Tool, ToolError, assert_logits, cut, make_model, ours, prompts, teacher, theirs,  # noqa: E402
                     tokens_of, with_lora)

# Twice the rows, as PEFT makes them, and once; longer than the distances that have buckets of their own.
PROMPTS = {
    "short": dict(num_virtual_tokens=4),
    "long": dict(num_virtual_tokens=40),
    "once": dict(num_virtual_tokens=7, num_transformer_submodules=1),
}
# The library's layouts, their other activations, and blocks behind cross-attention, which none of them has.
BLOCKS = {
    "seq_bn": (dict(layout="seq_bn", reduction_factor=4), 0.15),
    "double_seq_bn": (dict(layout="double_seq_bn", reduction_factor=6), 0.15),
    "par_bn": (dict(layout="par_bn", reduction_factor=3), 0.05),
    "crosses": (dict(layout="double_seq_bn", reduction_factor=100, non_linearity="tanh", cross_adapter=True), 0.3),
    "wide": (dict(layout="seq_bn", reduction_factor=0.5, non_linearity="gelu", mh_adapter=True), 0.05),
}
LORAS = ("first", "second")
GREEDY = {"max_new_tokens": 20}
BEAMS = {"max_new_tokens": 16, "num_beams": 4}


def teacher_rows(seed, count=12):
    draw = random.Random(seed)
    return [{"source": [draw.randrange(2, VOCAB) for _ in range(draw.choice([1, 3, 17, 60, 140]))] + [EOS],
             "tokens": [START] + [draw.randrange(2, VOCAB) for _ in range(draw.randint(0, 25))]} for _ in range(count)]


class Tuned(Pair):
    """A base, and an adapter of every kind on it, made by its library and read by the engine."""

    def __init__(self, kind, folder, ask):
        super().__init__(kind, folder / "base")
        self.adapters, self.ask, self.made, self.models = folder, ask, {}, {}
        for seed, name in enumerate(PROMPTS):
            self.models[name] = self.with_prompt(name, seed)
        for seed, (name, (config, spread)) in enumerate(BLOCKS.items()):
            made = ask(do="make_t5", base=self.folder, config=config, spread=spread, seed=seed, out=folder / name, head=name != "wide")
            self.made[name] = made["parameters"]
        for seed, name in enumerate(LORAS):
            self.models[name] = with_lora(kind, name, folder / name, 0, seed)
        self.loaded = {name: self.tool("adapter", name=name, folder=folder / name) for name in (*PROMPTS, *BLOCKS, *LORAS)}

    def with_prompt(self, name, seed):
        model = peft.get_peft_model(make_model(self.kind), peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", **PROMPTS[name]))
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.prompt_encoder.parameters():
                parameter.normal_(0, 1)
        self.made[name] = sum(p.numel() for p in model.prompt_encoder.parameters())
        model.eval().save_pretrained(self.adapters / name)
        return model

    def teacher(self, name, rows, folder=None):
        if name in BLOCKS:
            replies = self.ask(do="t5_logits", base=self.folder, adapter=folder or self.adapters / name, rows=rows)["rows"]
            return [np.asarray(row) for row in replies]
        model = self.models[name] if name else self.model
        return [teacher(model, row["source"], row["tokens"]) for row in rows]

    def generated(self, name, sources, options):
        if name in BLOCKS:
            rows = self.ask(do="t5_generate", base=self.folder, adapter=self.adapters / name, sources=sources, options=options)["rows"]
            return [[cut(row) for row in one] for one in rows]
        return theirs(self.models[name] if name else self.model, sources, options)


@pytest.fixture(scope="module", params=list(SHAPES))
def tuned(request, peer, tmp_path_factory):  # noqa: F811
    made = Tuned(request.param, tmp_path_factory.mktemp("t5-tuning"), peer)
    yield made
    made.tool.close()


def test_what_is_read(tuned):
    for name, loaded in tuned.loaded.items():
        assert loaded["config"]["task"] == "seq2seq"
        assert loaded["config"]["method"] == ("lora" if name in LORAS else "prompt_tuning" if name in PROMPTS else "bottleneck")
        if name in tuned.made:
            assert loaded["parameters"] == tuned.made[name], name


@pytest.mark.parametrize("name", [*PROMPTS, *BLOCKS])
def test_logits(tuned, name):
    rows = teacher_rows(seed=1)
    expected = tuned.teacher(name, rows)
    assert_logits(tuned.tool("logits", rows=[{**row, "adapter": name} for row in rows])["rows"], expected)
    # The adapter does something.
    assert max(np.abs(a - b).max() for a, b in zip(expected, tuned.teacher("", rows))) > 0.1


@pytest.mark.parametrize("name", [*PROMPTS, *BLOCKS])
def test_its_library_opens_what_we_write(tuned, name, tmp_path):
    tuned.tool("write", name=name, folder=tmp_path)
    rows = teacher_rows(seed=2, count=3)
    expected = tuned.teacher(name, rows)
    if name in BLOCKS:
        assert_logits(tuned.teacher(name, rows, tmp_path), expected, 1e-6)
    else:
        again = peft.PeftModel.from_pretrained(make_model(tuned.kind), tmp_path).eval()
        assert_logits([teacher(again, row["source"], row["tokens"]) for row in rows], expected, 1e-6)
        written = json.loads((tmp_path / "adapter_config.json").read_text())
        assert written["num_transformer_submodules"] == PROMPTS[name].get("num_transformer_submodules", 2)
    tuned.tool("adapter", name="again", folder=tmp_path)
    replies = tuned.tool("logits", rows=[{**row, "adapter": "again"} for row in rows])["rows"]
    assert_logits(replies, expected)


@pytest.mark.parametrize("name", [*PROMPTS, *BLOCKS])
@pytest.mark.parametrize("search", ["greedy", "beams"])
def test_generates_the_tokens_of_its_library(tuned, name, search):
    options, sources = {"greedy": GREEDY, "beams": BEAMS}[search], prompts(seed=7, count=100)
    replies = ours(tuned.tool, [(source, options, name) for source in sources], max_lines=64)
    for source, reply, expected in zip(sources, replies, tuned.generated(name, sources, options)):
        assert tokens_of(reply) == expected, source


def test_logits_in_a_mixed_batch(tuned):
    names = ["", *LORAS, *PROMPTS, *BLOCKS] * 2
    random.Random(3).shuffle(names)
    rows = [{**row, "adapter": name} for row, name in zip(teacher_rows(seed=4, count=len(names)), names)]
    replies = tuned.tool("logits", rows=rows)["rows"]
    for row, reply in zip(rows, replies):
        assert_logits([reply], tuned.teacher(row["adapter"], [row]))


def test_generation_in_a_mixed_batch_is_generation_alone(tuned):
    draw = random.Random(5)
    names = ["", *LORAS, *PROMPTS, *BLOCKS] * 6
    draw.shuffle(names)
    requests = [(source, draw.choice([GREEDY, BEAMS]), name) for source, name in zip(prompts(seed=6, count=len(names)), names)]
    mixed = ours(tuned.tool, requests, max_lines=48, join=7)
    for request, reply in zip(requests, mixed):
        assert tokens_of(reply) == tokens_of(ours(tuned.tool, [request])[0]), request
    for name in ("", *LORAS, *PROMPTS, *BLOCKS):
        for options in (GREEDY, BEAMS):
            places = [i for i, request in enumerate(requests) if request[1:] == (options, name)]
            expected = tuned.generated(name, [requests[i][0] for i in places], options)
            assert [tokens_of(mixed[i]) for i in places] == expected, name


def test_one_step_of_all_kinds_greedy_and_by_beams(tuned):
    """No staggered joins: LoRAs of two ranks, a prompt, blocks and the base read and write in one batch."""
    names = ["short", "", "first", "seq_bn", "second", "long", "par_bn", "crosses"]
    sources = prompts(seed=8, count=len(names))
    for options in (GREEDY, BEAMS):
        requests = [(source, options, name) for source, name in zip(sources, names)]
        replies = ours(tuned.tool, requests, max_lines=64, join=len(names))
        for (source, _, name), reply in zip(requests, replies):
            assert tokens_of(reply) == tuned.generated(name, [source], options)[0], name


def test_wrong_files_are_named(tuned, tmp_path):
    from safetensors.torch import load_file, save_file

    def attempt(name, change, config=None):
        for file in (tuned.adapters / name).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        weights = tmp_path / ("adapter.safetensors" if name in BLOCKS else "adapter_model.safetensors")
        save_file(change(load_file(weights)), weights)
        settings = json.loads((tmp_path / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps({**settings, **(config or {})}))
        with pytest.raises(ToolError) as error:
            tuned.tool("adapter", name="wrong", folder=tmp_path)
        for file in tmp_path.iterdir():
            file.unlink()
        return error.value.reason, error.value.field

    same = dict
    assert attempt("short", same, {"num_virtual_tokens": 5}) == ("ADAPTER_INVALID", "prompt_embeddings")
    assert attempt("short", same, {"num_transformer_submodules": 1}) == ("ADAPTER_INVALID", "prompt_embeddings")
    assert attempt("short", same, {"task_type": "SEQ_CLS"})[1] == "num_transformer_submodules"
    key = "decoder.block.1.layer.2.adapters.texts.adapter_up.weight"
    assert attempt("seq_bn", lambda state: {k: v for k, v in state.items() if k != key}) == ("ADAPTER_INVALID", key)
    assert attempt("seq_bn", lambda state: {**state, key: state[key][:, 1:].contiguous()}) == ("ADAPTER_INVALID", key)
    assert attempt("seq_bn", same, {"model_type": "bert"}) == ("ADAPTER_INVALID", "model_type")


@pytest.mark.parametrize("kind", ["flan", "narrow"])
def test_in_bf16_they_are_as_near_as_the_base_is(kind, peer, tmp_path):  # noqa: F811
    tuned = Tuned(kind, tmp_path, peer)
    tuned.tool.close()
    tool = Tool()
    tool("base", folder=tuned.folder, precision="bf16")
    rows = teacher_rows(seed=9, count=20)

    def far(name):
        if name:
            tool("adapter", name=name, folder=tuned.adapters / name)
        replies = tool("logits", rows=[{**row, "adapter": name} for row in rows])["rows"]
        return np.mean([np.abs(np.asarray(reply) - exact).mean() for reply, exact in zip(replies, tuned.teacher(name, rows))])

    base = far("")
    for name in ("short", "seq_bn", "double_seq_bn"):
        assert 0 < far(name) < 3 * base, name
    tool.close()

"""GPT-2 and OPT against transformers and PEFT: logits, generated tokens, LoRA and prompts, mixed batches."""

import copy
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCAB, EOS, POSITIONS = 96, 1, 64
TOLERANCE = 1e-4
PROMPTS = 100
# The models are tiny: a second thread only waits for the first.
torch.set_num_threads(1)


class ToolError(Exception):
    def __init__(self, reply):
        super().__init__(reply["error"])
        self.reason, self.field = reply["reason"], reply["field"]


class Tool:
    """tests/parity/t5_tool.cc as a child process."""

    def __init__(self):
        program = os.environ.get("TENON_T5_TOOL", str(ROOT / "build/release/bin/tenon-t5-tool"))
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, cmd, **fields):
        self.process.stdin.write(json.dumps({"cmd": cmd, **fields}, default=str) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise ToolError(reply)
        return reply

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def gpt2(**changes):
    sizes = dict(n_embd=64, n_head=4, n_layer=3, n_positions=POSITIONS)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**sizes, **changes}, vocab_size=VOCAB, bos_token_id=EOS, eos_token_id=EOS))


def opt(**changes):
    sizes = dict(hidden_size=64, num_attention_heads=4, num_hidden_layers=3, ffn_dim=96, max_position_embeddings=POSITIONS)
    return transformers.OPTForCausalLM(transformers.OPTConfig(**{**sizes, **changes}, vocab_size=VOCAB, bos_token_id=EOS, eos_token_id=EOS))


# Heads that our own kernels take, and one that they do not; both places of norms; words narrower than states; old checkpoints.
KINDS = {
    "gpt2": gpt2,
    "gpt2-narrow": lambda: gpt2(n_embd=40, n_head=5, n_inner=72, activation_function="gelu"),
    "opt": opt,
    "opt-post": lambda: opt(do_layer_norm_before=False, word_embed_proj_dim=32),
    "opt-old": lambda: opt(_remove_final_layer_norm=True, activation_function="gelu_new"),
}


def spread_weights(model, seed):
    """Weights large enough to show a mistake, and logits so far apart that the best two seldom tie."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_((1 if name.endswith("weight") else 0) + 0.2 * torch.randn_like(parameter))
            elif "wte" in name or "embed_tokens" in name:
                parameter.normal_(0, 0.35)
            elif "wpe" in name or "embed_positions" in name:
                parameter.normal_(0, 0.5)
            else:
                # A Conv1D's weight is [in, out].
                inputs = parameter.shape[0 if ".c_" in name else 1]
                parameter.normal_(0, 1.4 * inputs ** -0.5)


def save_tokenizer(folder):
    """Byte-level pieces of single letters; these tests speak in ids."""
    pieces = ["<pad>", "</s>"] + [chr(c) for c in range(ord("a"), ord("z") + 1)]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", "unk_token": "</s>", "bos_token": "</s>",
                                                              "eos_token": "</s>"}))


def save_model(model, folder):
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


class Pair:
    def __init__(self, kind, folder, seed=0):
        self.kind, self.model = kind, KINDS[kind]().eval()
        spread_weights(self.model, seed)
        self.folder = save_model(self.model, folder)
        self.tool = Tool()
        self.info = self.tool("base", folder=self.folder)

    @property
    def targets(self):
        return ["c_attn"] if self.kind.startswith("gpt2") else ["q_proj", "v_proj"]


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request, tmp_path_factory):
    made = Pair(request.param, tmp_path_factory.mktemp("causal") / "base")
    yield made
    made.tool.close()


def prompts(count, seed=0, longest=24):
    draw = random.Random(seed)
    return [[draw.randrange(2, VOCAB) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def their_logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float().numpy()


def our_logits(pair, rows):
    """Rows of (tokens read when the line joins, tokens given to it step by step, adapter)."""
    reply = pair.tool("logits", rows=[{"source": source, "tokens": tokens, "adapter": adapter} for source, tokens, adapter in rows])
    return [np.array(row) for row in reply["rows"]]


def test_the_base_is_read_by_our_own_kernels_where_they_fit(pair):
    assert pair.info["own_kernels"] == (pair.kind not in ("gpt2-narrow",))


def test_logits_whatever_is_read_at_once_and_step_by_step(pair):
    draw = random.Random(1)
    rows, expected = [], []
    for ids in prompts(24, seed=1, longest=POSITIONS):
        cut = draw.randrange(len(ids))
        rows.append((ids[:cut], ids[cut:], ""))
        expected.append(their_logits(pair.model, ids)[cut:])
    for mine, theirs in zip(our_logits(pair, rows), expected):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE)


def generate(model, ids, **options):
    with torch.no_grad():
        given = torch.tensor([ids])
        written = model.generate(input_ids=given, attention_mask=torch.ones_like(given), pad_token_id=0, **options)
    rows = []
    for row in written[:, len(ids):].tolist():
        rows.append(row[: row.index(EOS) + 1] if EOS in row else row)
    return rows


def ours(pair, wanted, **fields):
    requests = [{"source": ids[:-1], "prefix": ids, "adapter": adapter, "options": {"eos_token_id": EOS, **options}}
                for ids, options, adapter in wanted]
    return [[one["tokens"] for one in reply["sequences"]] for reply in pair.tool("generate", requests=requests, join=7, **fields)["replies"]]


def how_many(pair, options):
    """Most where a family is first met; what an option does is not a family's affair."""
    return PROMPTS if not options and pair.kind in ("gpt2", "opt", "opt-post") else 10


@pytest.mark.parametrize("options", [
    {}, {"repetition_penalty": 1.4}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": 6}, {"min_length": 20},
], ids=lambda options: next(iter(options), "greedy"))
def test_greedy_tokens_equal_transformers(pair, options):
    texts = prompts(how_many(pair, options), seed=2)
    theirs = [generate(pair.model, ids, max_new_tokens=20, do_sample=False, **options) for ids in texts]
    assert ours(pair, [(ids, {"max_new_tokens": 20, **options}, "") for ids in texts]) == theirs


def test_lengths_count_the_prompt(pair):
    texts = prompts(10, seed=5, longest=16)
    theirs = [generate(pair.model, ids, max_length=24, do_sample=False) for ids in texts]
    assert ours(pair, [(ids, {"max_length": 24}, "") for ids in texts]) == theirs


@pytest.mark.parametrize("options", [
    {}, {"length_penalty": -1.0, "num_return_sequences": 2}, {"early_stopping": True, "no_repeat_ngram_size": 3, "repetition_penalty": 1.2},
], ids=["plain", "short", "early"])
def test_beams_equal_transformers(pair, options):
    texts = prompts(how_many(pair, options), seed=3)
    theirs = [generate(pair.model, ids, max_new_tokens=12, do_sample=False, num_beams=4, **options) for ids in texts]
    assert ours(pair, [(ids, {"max_new_tokens": 12, "num_beams": 4, **options}, "") for ids in texts]) == theirs


def save_lora(pair, folder, seed, **changes):
    config = peft.LoraConfig(**{**dict(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=pair.targets,
                                       fan_in_fan_out=pair.kind.startswith("gpt2")), **changes})
    model = peft.get_peft_model(copy.deepcopy(pair.model), config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.12)
    model.save_pretrained(folder)
    return model


def save_prompt(pair, folder, seed, tokens=5):
    words = pair.model.get_input_embeddings().weight.shape[1]
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens, token_dim=words)
    model = peft.get_peft_model(copy.deepcopy(pair.model), config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "prompt" in name:
                parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def adapters(pair, tmp_path_factory):
    """Several ranks and targets, and two prompts: name -> PEFT's model. The base is in none of them changed."""
    folder = tmp_path_factory.mktemp("adapters")
    made = {
        "lora4": save_lora(pair, folder / "lora4", 1),
        "lora16": save_lora(pair, folder / "lora16", 2, r=16, lora_alpha=16, use_rslora=True),
        "linear": save_lora(pair, folder / "linear", 3, r=3, target_modules="all-linear"),
        "prompt": save_prompt(pair, folder / "prompt", 4),
        "long": save_prompt(pair, folder / "long", 5, tokens=9),
    }
    for name in made:
        config = pair.tool("adapter", name=name, folder=folder / name)["config"]
        assert config["task"] == "causal_lm" and config["method"] == ("lora" if "l" in name and name != "long" else "prompt_tuning")
    return made


def test_adapters_give_the_logits_of_peft_in_one_batch(pair, adapters):
    names = ["", *adapters]
    draw = random.Random(4)
    rows, expected = [], []
    for i, ids in enumerate(prompts(36, seed=4, longest=POSITIONS - 10)):
        name = names[i % len(names)]
        cut = draw.randrange(len(ids))
        rows.append((ids[:cut], ids[cut:], name))
        theirs = their_logits(adapters[name] if name else pair.model, ids)
        expected.append(theirs[len(theirs) - len(ids):][cut:])
    mixed = our_logits(pair, rows)
    for mine, theirs in zip(mixed, expected):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE)
    for row, together in zip(rows, mixed):
        np.testing.assert_allclose(our_logits(pair, [row])[0], together, atol=TOLERANCE / 2)


def test_an_adapters_part_is_there(pair, adapters):
    ids = prompts(1, seed=6, longest=20)[0] + [5, 6]
    base = their_logits(pair.model, ids)[-1]
    for name, model in adapters.items():
        assert np.abs(their_logits(model, ids)[-1] - base).max() > 0.05, name


def test_mixed_texts_equal_pefts(pair, adapters):
    names = ["", *adapters]
    texts = prompts(30, seed=7)
    wanted, theirs = [], []
    for i, ids in enumerate(texts):
        name = names[i % len(names)]
        options = {"max_new_tokens": 10, **({"num_beams": 4} if i % 4 == 3 else {})}
        wanted.append((ids, options, name))
        theirs.append(generate(adapters[name] if name else pair.model, ids, do_sample=False, **options))
    assert ours(pair, wanted) == theirs


def test_bf16_is_near(pair):
    tool = Tool()
    tool("base", folder=pair.folder, precision="bf16")
    ids = prompts(1, seed=8)[0] + [7, 8, 9]
    mine = np.array(tool("logits", rows=[{"source": ids[:2], "tokens": ids[2:], "adapter": ""}])["rows"][0])
    theirs = their_logits(pair.model, ids)[2:]
    assert np.abs(mine - theirs).max() < 0.15 * np.abs(theirs).max()
    tool.close()


@pytest.mark.parametrize("prefix", ["", "task"])
def test_checkpoints_with_and_without_the_output_layer(pair, prefix, tmp_path):
    """The library's plain model is saved without what stands before the decoder's names, and old files have masks beside them."""
    from safetensors.torch import save_file

    save_model(pair.model, tmp_path)
    inner = pair.model.transformer if pair.kind.startswith("gpt2") else pair.model.model
    state = {name: tensor.clone().contiguous() for name, tensor in (pair.model if prefix else inner).state_dict().items() if name != "lm_head.weight"}
    if pair.kind.startswith("gpt2"):
        state[("transformer." if prefix else "") + "h.0.attn.bias"] = torch.ones(1, 1, POSITIONS, POSITIONS)
        state[("transformer." if prefix else "") + "h.0.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tool = Tool()
    tool("base", folder=tmp_path)
    ids = prompts(1, seed=9)[0] + [3]
    mine = np.array(tool("logits", rows=[{"source": ids[:1], "tokens": ids[1:], "adapter": ""}])["rows"][0])
    np.testing.assert_allclose(mine, their_logits(pair.model, ids)[1:], atol=TOLERANCE)
    tool.close()


def test_an_output_layer_of_its_own(pair, tmp_path):
    model = KINDS[pair.kind]().eval()
    model.load_state_dict(pair.model.state_dict())
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
    tool = Tool()
    assert "lm_head" in tool("base", folder=save_model(model, tmp_path))["layers"]
    assert "lm_head" not in pair.info["layers"]
    ids = prompts(1, seed=10)[0] + [3]
    mine = np.array(tool("logits", rows=[{"source": ids[:1], "tokens": ids[1:], "adapter": ""}])["rows"][0])
    np.testing.assert_allclose(mine, their_logits(model, ids)[1:], atol=TOLERANCE)
    tool.close()


@pytest.mark.parametrize("change, field", [
    ({"task_type": "SEQ_2_SEQ_LM"}, "task_type"), ({"task_type": "SEQ_CLS"}, "task_type"), ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"use_dora": True}, "use_dora"),
])
def test_what_is_not_served_is_refused_by_name(pair, adapters, change, field, tmp_path):
    save_lora(pair, tmp_path, 1)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ToolError) as refused:
        pair.tool("adapter", name="bad", folder=tmp_path)
    assert (refused.value.reason, refused.value.field) == ("UNSUPPORTED", field)


def test_a_prompt_longer_than_the_positions_is_refused(pair):
    with pytest.raises(ToolError) as refused:
        our_logits(pair, [([3] * POSITIONS, [4], "")])
    assert refused.value.reason == "FIELD_INVALID" and "64 positions" in str(refused.value)

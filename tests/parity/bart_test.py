"""BART against transformers and PEFT: logits, generated tokens, LoRA and prompts, mixed batches."""

import json
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytest.importorskip("scipy.stats")
from t5_test import TOLERANCE, Tool, ToolError, assert_logits, teacher, tokens_of  # noqa: E402

BOS, PAD, EOS, UNK = 0, 1, 2, 3
START = EOS
VOCAB, POSITIONS = 96, 160
PROMPTS = 100

# Heads that our own kernels take, and one that they do not; stacks that differ; embeddings that are scaled.
SHAPES = {
    "base": {},
    "scaled": dict(encoder_attention_heads=2, encoder_layers=3, decoder_ffn_dim=160, scale_embedding=True),
    "plain": dict(activation_function="relu"),
    "narrow": dict(d_model=40, encoder_ffn_dim=72, decoder_ffn_dim=72, encoder_attention_heads=5, decoder_attention_heads=5,
                   activation_function="gelu_new"),
}


def save_tokenizer(folder):
    """vocab.json and merges.txt of single bytes; these tests speak in ids."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = [c for b, c in sorted(bytes_to_unicode().items()) if 97 <= b < 123]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BartTokenizer"}))


def spread_weights(model, seed):
    """Weights large enough to show a mistake, and logits so far apart that the best two seldom tie."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.normal_(0, 0.2)
            elif "shared" in name or "embed_" in name or "lm_head" in name:
                parameter.normal_(0, 0.3)
            else:
                parameter.normal_(0, 1.4 * parameter.shape[1] ** -0.5)
        model.final_logits_bias.normal_(0, 0.5)


def make_model(kind, seed=0, **changes):
    sizes = dict(vocab_size=VOCAB, d_model=64, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=96, decoder_ffn_dim=96,
                 encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=POSITIONS, dropout=0.0)
    config = transformers.BartConfig(**{**sizes, **SHAPES.get(kind, {}), **changes})
    model = transformers.BartForConditionalGeneration(config).eval()
    spread_weights(model, seed)
    if kind == "plain":
        model.final_logits_bias.zero_()
    return model


def save_model(model, folder, kind):
    """As transformers saves it; `plain` as the first published ones are: the model without its head."""
    folder.mkdir(parents=True, exist_ok=True)
    (model.model if kind == "plain" else model).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


class Pair:
    def __init__(self, kind, folder, seed=0, precision="fp32"):
        self.kind, self.model = kind, make_model(kind, seed)
        self.folder = save_model(self.model, folder, kind)
        self.tool = Tool()
        self.info = self.tool("base", folder=self.folder, precision=precision)


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(request, tmp_path_factory):
    made = Pair(request.param, tmp_path_factory.mktemp("bart") / "base")
    yield made
    made.tool.close()


def prompts(seed=0, count=PROMPTS, lengths=(2, 5, 12)):
    draw = random.Random(seed)
    return [[BOS, *(draw.randrange(3, VOCAB) for _ in range(draw.choice(lengths))), EOS] for _ in range(count)]


def test_which_kernels_run(pair):
    assert pair.info["own_kernels"] == (pair.kind != "narrow")
    layers = pair.info["layers"]
    assert layers["decoder.layers.1.encoder_attn.out_proj"] == [pair.model.config.d_model] * 2
    assert "lm_head" not in layers  # it is the embedding


def test_logits(pair):
    """Rows of all lengths in one batch, up to the last position of either stack."""
    draw = random.Random(1)
    rows = []
    for length in (1, 2, 7, 15, 16, 17, 33, 90, 129, POSITIONS - 2):
        written = draw.choice([0, 3, 20, 70, POSITIONS - 1])
        rows.append({"source": [BOS, *(draw.randrange(3, VOCAB) for _ in range(length)), EOS],
                     "tokens": [START] + [draw.randrange(3, VOCAB) for _ in range(written)]})
    rows[0]["tokens"] = [START] + [5, 9, 7] * (POSITIONS // 3)
    replies = pair.tool("logits", rows=rows)["rows"]
    assert_logits(replies, [teacher(pair.model, row["source"], row["tokens"]) for row in rows])
    # A row alone is what it is in company.
    for row, reply in zip(rows[::4], replies[::4]):
        assert_logits(pair.tool("logits", rows=[row])["rows"], [np.asarray(reply)], 2e-5)


def test_more_tokens_than_positions_are_refused(pair):
    with pytest.raises(ToolError, match=f"a source has {POSITIONS + 1} tokens, the base takes at most {POSITIONS}"):
        pair.tool("logits", rows=[{"source": [5] * (POSITIONS + 1), "tokens": [START]}])


def test_transformers_reads_the_same_files_as_we_do(pair):
    read = transformers.BartForConditionalGeneration.from_pretrained(pair.folder).eval()
    rows = [{"source": source, "tokens": [START, 5, 9]} for source in prompts(count=4)]
    assert_logits(pair.tool("logits", rows=rows)["rows"], [teacher(read, row["source"], row["tokens"]) for row in rows])


def test_a_file_with_every_copy_of_its_embedding(tmp_path):
    """As older versions of transformers saved it; and one that has it under its last name alone."""
    from safetensors.torch import load_file, save_file

    model = make_model("base")
    folder = save_model(model, tmp_path / "base", "base")
    state = load_file(folder / "model.safetensors")
    names = ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"]
    embedding = state.pop("model.shared.weight")
    rows = [{"source": source, "tokens": [START, 5, 9]} for source in prompts(count=4)]
    expected = [teacher(model, row["source"], row["tokens"]) for row in rows]
    tool = Tool()
    for copies in (names, names[1:], names[3:]):
        save_file({**state, **{name: embedding.clone() for name in copies}}, folder / "model.safetensors", metadata={"format": "pt"})
        tool("base", folder=folder)
        assert_logits(tool("logits", rows=rows)["rows"], expected)
    save_file({**state, names[0]: embedding, names[2]: embedding + 1}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ToolError) as error:
        tool("base", folder=folder)
    assert (error.value.reason, error.value.field) == ("BASE_INVALID", names[2])
    tool.close()


def test_a_file_with_an_output_layer_of_its_own(tmp_path):
    """The configuration says tied, the weights do not: both use the layer that is there."""
    from safetensors.torch import load_file, save_file

    folder = save_model(make_model("base"), tmp_path / "base", "base")
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = torch.randn(VOCAB, 64, generator=torch.Generator().manual_seed(3))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    read = transformers.BartForConditionalGeneration.from_pretrained(folder).eval()
    assert not torch.equal(read.lm_head.weight, read.model.shared.weight)
    tool = Tool()
    assert "lm_head" in tool("base", folder=folder)["layers"]
    rows = [{"source": source, "tokens": [START, 5, 9]} for source in prompts(count=4)]
    assert_logits(tool("logits", rows=rows)["rows"], [teacher(read, row["source"], row["tokens"]) for row in rows])
    tool.close()


def ours(tool, requests, **fields):
    """`requests` are (source, options) or (source, options, adapter)."""
    wanted = [{"source": source, "prefix": [START], "options": options, "adapter": adapter[0] if adapter else ""}
              for source, options, *adapter in requests]
    base = {"eos_token_id": EOS, "pad_token_id": PAD, "decoder_start_token_id": START, "forced_eos_token_id": EOS}
    return tool("generate", base=base, requests=wanted, **fields)["replies"]


def cut(row):
    return row[: row.index(EOS) + 1] if EOS in row else row


def theirs(model, sources, options):
    """Tokens of each source's sequences; sources of one length go together, so that nothing is padded."""
    results = [None] * len(sources)
    each = options.get("num_return_sequences", 1)
    by_length = {}
    for i, source in enumerate(sources):
        by_length.setdefault(len(source), []).append(i)
    for places in by_length.values():
        with torch.no_grad():
            out = model.generate(input_ids=torch.tensor([sources[i] for i in places]), **options)
        rows = [cut(row) for row in out[:, 1:].tolist()]
        for k, i in enumerate(places):
            results[i] = rows[k * each : (k + 1) * each]
    return results


# The published models' own among them: those that summarise say a forced first token, trigrams, a least length and beams.
OPTIONS = {
    "greedy": {"max_new_tokens": 20},
    "no repeated bigrams, at least 8": {"max_new_tokens": 20, "no_repeat_ngram_size": 2, "min_new_tokens": 8},
    "a forced first token": {"max_new_tokens": 12, "forced_bos_token_id": BOS},
    "4 beams": {"max_new_tokens": 16, "num_beams": 4},
    "4 beams, as a summary": {"max_length": 22, "min_length": 9, "num_beams": 4, "early_stopping": True, "length_penalty": 2.0,
                              "no_repeat_ngram_size": 3, "forced_bos_token_id": BOS},
    "5 beams, stop early": {"max_new_tokens": 16, "num_beams": 5, "early_stopping": True, "length_penalty": 0.6},
    "5 beams, never early": {"max_new_tokens": 12, "num_beams": 5, "early_stopping": "never", "length_penalty": 2.0,
                             "num_return_sequences": 2},
    "5 beams, trigrams": {"max_new_tokens": 16, "num_beams": 5, "no_repeat_ngram_size": 3, "min_length": 6},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_generates_the_tokens_of_transformers(pair, name):
    options, sources = OPTIONS[name], prompts()
    replies = ours(pair.tool, [(source, options) for source in sources], max_lines=64)
    for source, reply, expected in zip(sources, replies, theirs(pair.model, sources, options)):
        assert tokens_of(reply) == expected, source


ATTENTION, WIDE = ["q_proj", "k_proj", "v_proj", "out_proj"], ["fc1", "fc2"]
LORAS = {
    "defaults": dict(r=4, lora_alpha=8),  # PEFT's own targets
    "wide": dict(r=7, lora_alpha=7, target_modules=ATTENTION + WIDE, use_rslora=True),
    "pattern": dict(r=2, lora_alpha=8, target_modules=r"model\.decoder\.layers\.[01]\.encoder_attn\.(q|v)_proj",
                    rank_pattern={"decoder.layers.0.encoder_attn.v_proj": 5}),
    "saved": dict(r=3, lora_alpha=6, target_modules=["fc1"], modules_to_save=["out_proj"]),
    "all": dict(r=3, lora_alpha=6, target_modules="all-linear"),
}
# Twice the rows, as PEFT makes them, and once.
PROMPT_TUNINGS = {
    "short": dict(num_virtual_tokens=4),
    "once": dict(num_virtual_tokens=30, num_transformer_submodules=1),
}
ADAPTERS = (*LORAS, *PROMPT_TUNINGS)


def adapted(kind, name, folder, seed=0):
    """A PEFT model with this adapter on the same weights, and the adapter in `folder`."""
    if name in LORAS:
        model = peft.get_peft_model(make_model(kind), peft.LoraConfig(task_type="SEQ_2_SEQ_LM", **LORAS[name]))
    else:
        model = peft.get_peft_model(make_model(kind), peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", **PROMPT_TUNINGS[name]))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "prompt_encoder" in parameter_name:
                parameter.normal_(0, 0.3)
            elif "lora_" in parameter_name:
                parameter.normal_(0, 0.4 * parameter.shape[1] ** -0.5)
            elif "modules_to_save" in parameter_name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def adapters(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    models = {}
    for seed, name in enumerate(ADAPTERS):
        models[name] = adapted(pair.kind, name, folder / name, seed)
        info = pair.tool("adapter", name=name, folder=folder / name)
        assert info["config"]["task"] == "seq2seq"
        assert info["config"]["method"] == ("lora" if name in LORAS else "prompt_tuning")
        assert info["parameters"] == sum(p.numel() for p in models[name].parameters() if p.requires_grad), name
    return folder, models


@pytest.mark.parametrize("name", ADAPTERS)
def test_logits_with_an_adapter(pair, adapters, name):
    _, models = adapters
    rows = [{"source": source, "tokens": [START, 7, 30, 12], "adapter": name} for source in prompts(seed=7, count=12, lengths=range(2, 60))]
    expected = [teacher(models[name], row["source"], row["tokens"]) for row in rows]
    assert_logits(pair.tool("logits", rows=rows)["rows"], expected)
    # The adapter does something.
    assert max(np.abs(a - teacher(pair.model, row["source"], row["tokens"])).max() for a, row in zip(expected, rows)) > 0.1


def test_one_batch_of_adapters_and_base_rows(pair, adapters):
    _, models = adapters
    draw = random.Random(2)
    names = ["", *ADAPTERS] * 3
    draw.shuffle(names)
    rows = [{"source": source, "tokens": [START] + [draw.randrange(3, VOCAB) for _ in range(draw.randint(0, 9))], "adapter": name}
            for source, name in zip(prompts(seed=3, count=len(names), lengths=range(2, 30)), names)]
    replies = pair.tool("logits", rows=rows)["rows"]
    expected = [teacher(models[row["adapter"]] if row["adapter"] else pair.model, row["source"], row["tokens"]) for row in rows]
    assert_logits(replies, expected)


def test_generation_in_a_mixed_batch_is_generation_alone(pair, adapters):
    _, models = adapters
    draw = random.Random(4)
    requests = [(source, OPTIONS[draw.choice(["greedy", "4 beams, as a summary", "5 beams, trigrams"])], draw.choice(["", *ADAPTERS]))
                for source in prompts(seed=5, count=60)]
    mixed = ours(pair.tool, requests, max_lines=48, join=7)
    for request, reply in zip(requests, mixed):
        assert tokens_of(reply) == tokens_of(ours(pair.tool, [request])[0]), request
    for request, reply in list(zip(requests, mixed))[:30]:
        model = models[request[2]] if request[2] else pair.model
        assert tokens_of(reply) == theirs(model, [request[0]], request[1])[0], request


def test_losses_of_targets_with_many_adapters_in_one_batch(pair, adapters):
    _, models = adapters
    draw = random.Random(6)
    rows = [{"source": source, "adapter": name, "target": [draw.randrange(3, VOCAB) for _ in range(draw.choice([0, 1, 4, 30]))] + [EOS]}
            for source, name in zip(prompts(seed=6, count=24), ["", *LORAS] * 4)]
    for row, reply in zip(rows, pair.tool("targets", rows=rows)["rows"]):
        with torch.no_grad():
            model = models[row["adapter"]] if row["adapter"] else pair.model
            out = model(input_ids=torch.tensor([row["source"]]), labels=torch.tensor([row["target"]]))
        assert abs(-np.mean(reply["log_probs"]) - out.loss.item()) <= TOLERANCE, row


def test_peft_opens_what_we_write(pair, adapters, tmp_path):
    _, models = adapters
    for name in ADAPTERS:
        folder = tmp_path / name
        folder.mkdir()
        pair.tool("write", name=name, folder=folder)
        again = peft.PeftModel.from_pretrained(make_model(pair.kind), folder).eval()
        source, tokens = prompts(seed=6)[0], [START, 4, 8]
        assert_logits([teacher(again, source, tokens)], [teacher(models[name], source, tokens)], 1e-6)


def test_wrong_adapters_are_named(pair, adapters, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _ = adapters

    def attempt(name, change, config=None):
        settings = json.loads((folder / name / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps({**settings, **(config or {})}))
        save_file(change(load_file(folder / name / "adapter_model.safetensors")), tmp_path / "adapter_model.safetensors")
        with pytest.raises(ToolError) as error:
            pair.tool("adapter", name="wrong", folder=tmp_path)
        return error.value.reason, error.value.field

    key = "base_model.model.model.decoder.layers.1.encoder_attn.q_proj.lora_A.weight"
    assert attempt("defaults", lambda state: {k: v for k, v in state.items() if k != key}) == ("ADAPTER_INVALID", key)
    assert attempt("defaults", lambda state: {**state, key: torch.zeros(4, 7)}) == ("ADAPTER_INVALID", key)
    assert attempt("defaults", dict, {"task_type": "SEQ_CLS"})[0] == "ADAPTER_INVALID"
    assert attempt("short", dict, {"num_virtual_tokens": 5}) == ("ADAPTER_INVALID", "prompt_embeddings")
    assert attempt("short", dict, {"num_virtual_tokens": POSITIONS - 2}) == ("ADAPTER_INVALID", "num_virtual_tokens")
    assert attempt("short", dict, {"num_layers": 12}) == ("ADAPTER_INVALID", "num_layers")


@pytest.mark.parametrize("kind", ["base", "scaled", "narrow"])
def test_bf16_is_as_near_to_fp32_as_that_of_transformers(kind, tmp_path):
    pair = Pair(kind, tmp_path / "base", precision="bf16")
    rows = [{"source": source, "tokens": [START, 7, 30, 12]} for source in prompts(count=40)]
    replies = pair.tool("logits", rows=rows)["rows"]
    adapted(kind, "wide", tmp_path / "wide")
    pair.tool("adapter", name="wide", folder=tmp_path / "wide")
    pair.tool("logits", rows=[{**row, "adapter": name} for row, name in zip(rows, ["", "wide"] * 20)])
    pair.tool.close()
    rounded = make_model(kind).bfloat16()
    own, library = [], []
    for row, reply in zip(rows, replies):
        exact = teacher(pair.model, row["source"], row["tokens"])
        own.append(np.abs(np.asarray(reply) - exact).mean())
        with torch.no_grad():
            near = rounded(input_ids=torch.tensor([row["source"]]), decoder_input_ids=torch.tensor([row["tokens"]])).logits[0]
        library.append(np.abs(near.float().numpy() - exact).mean())
    assert 0 < np.mean(own) < 1.3 * np.mean(library)


@pytest.mark.parametrize("lost", [
    "model.shared.weight", "model.encoder.embed_positions.weight", "model.encoder.layers.1.fc1.bias",
    "model.decoder.layers.0.encoder_attn.k_proj.weight", "model.decoder.layernorm_embedding.bias"])
def test_a_missing_tensor_is_named(lost, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_model(make_model("base"), tmp_path / "base", "base")
    state = load_file(folder / "model.safetensors")
    state.pop(lost)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tool = Tool()
    with pytest.raises(ToolError) as error:
        tool("base", folder=folder)
    tool.close()
    assert error.value.reason == "BASE_INVALID" and error.value.field in (lost, lost.removeprefix("model."))


def test_published_counts(tmp_path):
    """BART-base's shape, with random weights: the size of an adapter as PEFT counts it."""
    sizes = dict(vocab_size=50265, d_model=768, encoder_layers=6, decoder_layers=6, encoder_ffn_dim=3072, decoder_ffn_dim=3072,
                 encoder_attention_heads=12, decoder_attention_heads=12, max_position_embeddings=1024)
    model = make_model("whole", **sizes)
    folder = save_model(model, tmp_path / "base", "whole")
    tool = Tool()
    tool("base", folder=folder)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=8))
    wrapped.save_pretrained(tmp_path / "lora")
    assert tool("adapter", name="lora", folder=tmp_path / "lora")["parameters"] == 442_368
    rows = [{"source": [0, 900, 31000, 2], "tokens": [2, 0, 17, 2500]}]
    assert_logits(tool("logits", rows=rows)["rows"], [teacher(model, rows[0]["source"], rows[0]["tokens"])], 1e-3)
    tool.close()

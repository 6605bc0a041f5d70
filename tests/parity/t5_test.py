"""T5, T5 v1.1 and FLAN-T5 against transformers and PEFT: logits, generated tokens, adapters both ways, mixed batches."""

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
pytest.importorskip("scipy.stats")
from sampling import DRAWS, SAMPLING, assert_distribution  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
START, EOS, PAD = 0, 1, 0
VOCAB = 96
TOLERANCE = 1e-4
PROMPTS = 200
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


# Widths of heads that our own kernels take, and one that they do not; more heads than the width asks for; fewer decoder layers.
SHAPES = {
    "t5": dict(d_kv=16, feed_forward_proj="relu"),
    "v1.1": dict(d_kv=32, num_heads=3, feed_forward_proj="gated-gelu"),
    "flan": dict(d_kv=16, num_heads=6, num_decoder_layers=2, d_ff=160, feed_forward_proj="gated-gelu"),
    "narrow": dict(d_kv=8, d_model=40, d_ff=72, feed_forward_proj="gated-gelu"),
}
TIED = {"t5"}


def save_tokenizer(folder):
    """A tokenizer.json of SentencePiece's kind; these tests speak in ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(c, -3.0 - i / 10) for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "T5TokenizerFast", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 0}))


def spread_weights(model, seed):
    """Weights large enough to show a mistake, and logits so far apart that the best two seldom tie."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif "relative_attention_bias" in name:
                parameter.normal_(0, 1.0)
            elif name == "shared.weight":
                parameter.normal_(0, 1.0)
            elif name == "lm_head.weight":  # logits of a few units, as a trained model's: differences are absolute
                parameter.normal_(0, 0.3)
            elif ".q." in name:
                parameter.normal_(0, (parameter.shape[1] * model.config.d_kv) ** -0.5 * 2)
            else:
                parameter.normal_(0, 1.2 * parameter.shape[1] ** -0.5)


def make_model(kind, seed=0, **changes):
    """transformers 5 ties every T5 and turns the scaling off only where it is told so before it builds the model: an output layer
    of its own has to be put there, and both be looked at, before this is anybody's oracle."""
    sizes = dict(vocab_size=VOCAB, d_model=64, d_ff=96, num_layers=3, num_heads=4, decoder_start_token_id=START, dropout_rate=0.0)
    config = transformers.T5Config(**{**sizes, **SHAPES.get(kind, {}), **changes, "tie_word_embeddings": kind in TIED})
    model = transformers.T5ForConditionalGeneration(config).eval()
    if kind not in TIED:
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
        assert model.lm_head.weight.data_ptr() != model.shared.weight.data_ptr()
    assert model.config.scale_decoder_outputs == (kind in TIED)
    spread_weights(model, seed)
    model.generation_config.eos_token_id = EOS
    return model


def save_model(model, folder, kind):
    """As Google published them: config.json says `tie_word_embeddings` and nothing of what transformers 5 makes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    for copy in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *(["lm_head.weight"] if kind in TIED else [])):
        state.pop(copy)
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config.pop("scale_decoder_outputs", None)
    config.update(tie_word_embeddings=kind in TIED, architectures=["T5ForConditionalGeneration"])
    (folder / "config.json").write_text(json.dumps(config))
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
    made = Pair(request.param, tmp_path_factory.mktemp("t5") / "base")
    yield made
    made.tool.close()


def prompts(seed=0, count=PROMPTS, lengths=(2, 5, 12)):
    draw = random.Random(seed)
    return [[draw.randrange(2, VOCAB) for _ in range(draw.choice(lengths))] + [EOS] for _ in range(count)]


def teacher(model, source, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([tokens])).logits[0].numpy()


def assert_logits(rows, expected, tolerance=TOLERANCE):
    for i, (row, other) in enumerate(zip(rows, expected)):
        difference = np.abs(np.asarray(row) - other).max()
        assert difference <= tolerance, f"row {i} differs by {difference}"


def test_which_kernels_run(pair):
    assert pair.info["own_kernels"] == (pair.kind != "narrow")


def test_logits(pair):
    """Rows of all lengths in one batch, past the distances that have buckets of their own, and past the last bucket."""
    draw = random.Random(1)
    rows = []
    for length in (1, 2, 7, 15, 16, 17, 33, 40, 90, 129, 150):
        rows.append({"source": [draw.randrange(2, VOCAB) for _ in range(length)],
                     "tokens": [START] + [draw.randrange(2, VOCAB) for _ in range(draw.choice([0, 3, 20, 70, 140]))]})
    replies = pair.tool("logits", rows=rows)["rows"]
    assert_logits(replies, [teacher(pair.model, row["source"], row["tokens"]) for row in rows])
    # A row alone is what it is in company.
    for row, reply in zip(rows[::4], replies[::4]):
        assert_logits(pair.tool("logits", rows=[row])["rows"], [np.asarray(reply)], 2e-5)


def test_what_transformers_5_saves_is_the_same_model(pair, tmp_path):
    """It writes tie_word_embeddings true into every T5, and its own key beside it."""
    pair.model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    rows = [{"source": source, "tokens": [START, 5, 9]} for source in prompts(count=4)]
    expected = pair.tool("logits", rows=rows)["rows"]
    tool = Tool()
    tool("base", folder=tmp_path)
    assert_logits(tool("logits", rows=rows)["rows"], [np.asarray(row) for row in expected], 1e-6)
    tool.close()
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert_logits([teacher(again, row["source"], row["tokens"]) for row in rows], [np.asarray(row) for row in expected])


def test_transformers_reads_the_published_form_as_we_do(pair):
    read = transformers.T5ForConditionalGeneration.from_pretrained(pair.folder).eval()
    assert (read.lm_head.weight.data_ptr() == read.shared.weight.data_ptr()) == (pair.kind in TIED)
    assert read.config.scale_decoder_outputs == (pair.kind in TIED)
    rows = [{"source": source, "tokens": [START, 5, 9]} for source in prompts(count=4)]
    assert_logits(pair.tool("logits", rows=rows)["rows"], [teacher(read, row["source"], row["tokens"]) for row in rows])


def test_a_tied_file_with_an_output_layer_of_its_own(tmp_path):
    """The configuration says tied, the weights do not: both use the layer that is there, and scale."""
    from safetensors.torch import load_file, save_file

    folder = save_model(make_model("t5"), tmp_path / "base", "t5")
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = torch.randn(VOCAB, 64, generator=torch.Generator().manual_seed(3))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    read = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
    assert read.config.scale_decoder_outputs and not torch.equal(read.lm_head.weight, read.shared.weight)
    tool = Tool()
    tool("base", folder=folder)
    rows = [{"source": source, "tokens": [START, 5, 9]} for source in prompts(count=4)]
    assert_logits(tool("logits", rows=rows)["rows"], [teacher(read, row["source"], row["tokens"]) for row in rows])
    tool.close()


def loss_of(model, row):
    """Loss per target token, as transformers has it, and how many target tokens are the likeliest."""
    labels = torch.tensor([row["target"]])
    with torch.no_grad():
        out = model(input_ids=torch.tensor([row["source"]]), labels=labels)
    return out.loss.item(), int((out.logits.argmax(-1) == labels).sum())


def targets(seed, count=40):
    draw = random.Random(seed)
    return [{"source": source, "target": [draw.randrange(2, VOCAB) for _ in range(draw.choice([0, 1, 4, 30]))] + [EOS]}
            for source in prompts(seed, count, lengths=(1, 2, 5, 12, 60))]


def assert_losses(replies, rows, models):
    for row, reply, model in zip(rows, replies, models):
        loss, foreseen = loss_of(model, row)
        assert len(reply["log_probs"]) == len(row["target"])
        assert abs(-np.mean(reply["log_probs"]) - loss) <= TOLERANCE, row
        assert reply["foreseen"] == foreseen, row


def test_losses_of_targets(pair):
    """Rows whose targets end at different steps, in one batch."""
    rows = targets(3)
    assert_losses(pair.tool("targets", rows=rows)["rows"], rows, [pair.model] * len(rows))


def test_a_written_text_is_foreseen(pair):
    sources = prompts(count=12)
    written = [tokens_of(reply)[0] for reply in ours(pair.tool, [(source, {"max_new_tokens": 8}) for source in sources])]
    rows = [{"source": source, "target": target} for source, target in zip(sources, written)]
    for row, reply in zip(rows, pair.tool("targets", rows=rows)["rows"]):
        assert reply["foreseen"] == len(row["target"])


def ours(tool, requests, **fields):
    """`requests` are (source, options) or (source, options, adapter)."""
    wanted = []
    for source, options, *adapter in requests:
        options = dict(options)
        extra = {key: options.pop(key) for key in ("do_sample", "seed") if key in options}
        wanted.append({"source": source, "prefix": [START], "options": options, "adapter": adapter[0] if adapter else "", **extra})
    base = {"eos_token_id": EOS, "pad_token_id": PAD, "decoder_start_token_id": START}
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


def tokens_of(reply):
    assert "error" not in reply, reply
    return [one["tokens"] for one in reply["sequences"]]


OPTIONS = {
    "greedy": {"max_new_tokens": 20},
    "no repeated bigrams, at least 8": {"max_new_tokens": 20, "no_repeat_ngram_size": 2, "min_new_tokens": 8},
    "4 beams": {"max_new_tokens": 16, "num_beams": 4},
    "4 beams, stop early": {"max_new_tokens": 16, "num_beams": 4, "early_stopping": True, "length_penalty": 0.6},
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


@pytest.mark.parametrize("name", SAMPLING)
def test_samples_have_the_distribution_of_transformers(pair, name):
    source = prompts(seed=6)[0]
    assert_distribution(pair.model, source, SAMPLING[name], lambda options: ours(pair.tool, [(source, options)], max_lines=DRAWS)[0]["sequences"],
                        start=START, eos=EOS)


LORAS = {
    "first": dict(r=4, lora_alpha=16, target_modules=["q", "v"]),
    "second": dict(r=7, lora_alpha=7, target_modules=["q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo"], use_rslora=True),
    "third": dict(r=2, lora_alpha=8, target_modules=r"decoder\.block\.[01]\.layer\.1\.EncDecAttention\.(q|v)",
                  rank_pattern={"decoder.block.0.layer.1.EncDecAttention.v": 5}),
    "all": dict(r=3, lora_alpha=6, target_modules="all-linear"),
}


def with_lora(kind, name, folder, base, seed=0):
    """A PEFT model with this adapter on the same weights, and the adapter in `folder`."""
    model = peft.get_peft_model(make_model(kind, base), peft.LoraConfig(task_type="SEQ_2_SEQ_LM", **LORAS[name]))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.normal_(0, 0.3 * parameter.shape[1] ** -0.5)
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def adapters(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    models = {}
    for seed, name in enumerate(LORAS):
        models[name] = with_lora(pair.kind, name, folder / name, 0, seed)
        info = pair.tool("adapter", name=name, folder=folder / name)
        assert info["config"]["task"] == "seq2seq"
        assert info["parameters"] == sum(p.numel() for n, p in models[name].named_parameters() if "lora_" in n)
    return folder, models


def test_losses_of_targets_with_many_adapters_in_one_batch(pair, adapters):
    _, models = adapters
    names = ["", *LORAS]
    rows = [{**row, "adapter": names[i % len(names)]} for i, row in enumerate(targets(5))]
    assert_losses(pair.tool("targets", rows=rows)["rows"], rows, [models.get(row["adapter"], pair.model) for row in rows])


def test_one_batch_of_adapters_and_base_rows(pair, adapters):
    _, models = adapters
    draw = random.Random(2)
    names = ["", *LORAS] * 3
    draw.shuffle(names)
    rows = [{"source": source, "tokens": [START] + [draw.randrange(2, VOCAB) for _ in range(draw.randint(0, 9))], "adapter": name}
            for source, name in zip(prompts(seed=3, count=len(names), lengths=range(2, 30)), names)]
    replies = pair.tool("logits", rows=rows)["rows"]
    expected = [teacher(models[row["adapter"]] if row["adapter"] else pair.model, row["source"], row["tokens"]) for row in rows]
    assert_logits(replies, expected)


def test_generation_in_a_mixed_batch_is_generation_alone(pair, adapters):
    _, models = adapters
    draw = random.Random(4)
    sources = prompts(seed=5, count=60)
    requests = [(source, OPTIONS[draw.choice(["greedy", "4 beams", "5 beams, trigrams"])], draw.choice(["", *LORAS]))
                for source in sources]
    mixed = ours(pair.tool, requests, max_lines=48, join=7)
    for request, reply in zip(requests, mixed):
        assert tokens_of(reply) == tokens_of(ours(pair.tool, [request])[0]), request
    for request, reply in list(zip(requests, mixed))[:20]:
        model = models[request[2]] if request[2] else pair.model
        assert tokens_of(reply) == theirs(model, [request[0]], request[1])[0], request


def test_peft_opens_what_we_write(pair, adapters, tmp_path):
    _, models = adapters
    for name in LORAS:
        folder = tmp_path / name
        folder.mkdir()
        pair.tool("write", name=name, folder=folder)
        again = peft.PeftModel.from_pretrained(make_model(pair.kind), folder).eval()
        source, tokens = prompts(seed=6)[0], [START, 4, 8]
        assert_logits([teacher(again, source, tokens)], [teacher(models[name], source, tokens)], 1e-6)


def test_wrong_adapters_are_named(pair, adapters, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _ = adapters
    state = load_file(folder / "first" / "adapter_model.safetensors")
    key = "base_model.model.decoder.block.1.layer.1.EncDecAttention.q.lora_A.weight"

    def attempt(changed, config=None):
        target = tmp_path / "wrong"
        target.mkdir(exist_ok=True)
        settings = json.loads((folder / "first" / "adapter_config.json").read_text())
        (target / "adapter_config.json").write_text(json.dumps({**settings, **(config or {})}))
        save_file(changed, target / "adapter_model.safetensors")
        with pytest.raises(ToolError) as error:
            pair.tool("adapter", name="wrong", folder=target)
        return error.value.reason, error.value.field

    assert attempt({k: v for k, v in state.items() if k != key}) == ("ADAPTER_INVALID", key)
    assert attempt({**state, key: torch.zeros(4, 63)}) == ("ADAPTER_INVALID", key)
    assert attempt({**state, "base_model.model.lm_head.lora_A.weight": torch.zeros(4, 64)})[0] == "ADAPTER_INVALID"
    assert attempt(state, {"task_type": "CAUSAL_LM"}) == ("UNSUPPORTED", "task_type")


def test_flan_t5_small_counts(tmp_path):
    """The true shape, with random weights: sizes of adapters as published."""
    sizes = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu",
                 num_decoder_layers=8)
    model = make_model("small", **sizes)
    folder = save_model(model, tmp_path / "base", "small")
    tool = Tool()
    tool("base", folder=folder)
    for rank, parameters in ((8, 344_064), (32, 1_376_256)):
        config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=rank, target_modules=["q", "v"])
        wrapped = peft.get_peft_model(make_model("small", **sizes), config)
        wrapped.save_pretrained(tmp_path / str(rank))
        assert tool("adapter", name=str(rank), folder=tmp_path / str(rank))["parameters"] == parameters
        if rank == 32:
            total = sum(p.numel() for p in wrapped.parameters())
            assert total == 78_337_408
    rows = [{"source": [5, 900, 31000, 1], "tokens": [0, 17, 2500]}]
    assert_logits(tool("logits", rows=rows)["rows"], [teacher(model, rows[0]["source"], rows[0]["tokens"])], 1e-3)
    tool.close()


@pytest.mark.parametrize("kind", ["t5", "narrow"])
def test_bf16_is_as_near_to_fp32_as_that_of_transformers(kind, tmp_path):
    pair = Pair(kind, tmp_path / "base", precision="bf16")
    rows = [{"source": source, "tokens": [START, 7, 30, 12]} for source in prompts(count=40)]
    replies = pair.tool("logits", rows=rows)["rows"]
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


@pytest.mark.parametrize("lost,field", [
    ("lm_head.weight", "lm_head.weight"), ("shared.weight", "shared.weight"),
    ("decoder.block.1.layer.2.DenseReluDense.wi_1.weight", "decoder.block.1.layer.2.DenseReluDense.wi_1.weight")])
def test_a_missing_tensor_is_named(lost, field, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_model(make_model("flan"), tmp_path / "base", "flan")
    state = load_file(folder / "model.safetensors")
    state.pop(lost)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tool = Tool()
    with pytest.raises(ToolError) as error:
        tool("base", folder=folder)
    tool.close()
    assert (error.value.reason, error.value.field) == ("BASE_INVALID", field)

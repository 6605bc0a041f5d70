"""LoRAs merged into their bases against PEFT's merge_and_unload: the weights, and what transformers answers from the folder."""

import json
import os
import pathlib
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402

from engine_test import make_base, texts  # noqa: E402
from families import CLASSIFIERS, FAMILIES  # noqa: E402
from t5_test import SHAPES, VOCAB, make_model, save_model  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = pathlib.Path(os.environ.get("TENON_BUILD_BIN", ROOT / "build/release/bin")) / "tenon-merge-tool"
LABELS = ["bad", "fine", "good"]
TOLERANCE = 1e-4
CASES = {
    "plain": dict(r=4, lora_alpha=16, target_modules=["query", "value"]),
    "everywhere": dict(r=5, lora_alpha=3, target_modules="all-linear", use_rslora=True),
    "patterns": dict(r=4, lora_alpha=8, target_modules=r".*\.(key|dense)", exclude_modules=["pooler.dense"],
                     rank_pattern={"attention.output.dense": 2, r"layer\.1\..*": 7}, alpha_pattern={"layer.0.attention.self.key": 20}),
    "saved": dict(r=3, lora_alpha=6, target_modules=["query"], modules_to_save=["pooler"]),
}
T5_CASES = {
    "plain": dict(r=4, lora_alpha=16, target_modules=["q", "v"]),
    "everywhere": dict(r=7, lora_alpha=7, target_modules="all-linear", use_rslora=True),
    "patterns": dict(r=2, lora_alpha=8, target_modules=["q", "wo", "o"], rank_pattern={r"decoder\..*\.wo": 5}),
}


def merge(base, adapter, out, labels=()):
    out.mkdir()
    done = subprocess.run([TOOL, base, adapter, out, *labels], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return out


def refused(base, adapter, out, labels=()):
    out.mkdir()
    done = subprocess.run([TOOL, base, adapter, out, *labels], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and list(out.iterdir()) == []
    return done.stderr


def tune(model, config, folder, seed=0):
    """A PEFT model whose LoRA, and whatever else it trains, are numbers that show; its files in `folder`."""
    tuned = peft.get_peft_model(model, config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.4 * parameter.shape[-1] ** -0.5)
    tuned.eval().save_pretrained(folder)
    return tuned


def weights(folder):
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def assert_same_weights(ours, theirs, aliases=()):
    assert set(ours) == {name for name in theirs if name not in aliases}
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        # The products are summed in another order: for 16 bits that may be one step of rounding.
        step = {torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}[tensor.dtype]
        difference = (tensor.float() - theirs[name].float()).abs()
        allowed = step * theirs[name].float().abs().clamp(min=1.0) if tensor.dtype == torch.float32 else step * theirs[name].float().abs() * 2 + 1e-7
        assert (difference <= allowed).all(), f"{name} differs by {difference.max()}"
        if tensor.dtype != torch.float32:
            assert (difference != 0).float().mean() < 0.01, name


def assert_same_answers(merged, tuned, tokenizer):
    for text in texts(12, seed=5):
        inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            assert (merged(**inputs).logits - tuned(**inputs).logits).abs().max() <= TOLERANCE, text


MERGES = [("bert", name, prefix) for name in CASES for prefix in (False, True)]
MERGES += [(family, "plain", prefix) for family in CLASSIFIERS if family != "bert" for prefix in (False, True)]
MERGES += [(family, "everywhere", False) for family in CLASSIFIERS if family not in ("bert", "distilbert")]  # as PEFT itself


@pytest.mark.parametrize("family, name, prefix", MERGES)
def test_a_classifier_equals_peft(tmp_path, family, name, prefix):
    base, _, tokenizer = make_base(tmp_path / "base", labels=2 if prefix else 0, family=family)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS), ignore_mismatched_sizes=True)
    tuned = tune(model, peft.LoraConfig(task_type="SEQ_CLS", **FAMILIES[family].lora(CASES[name])), tmp_path / "adapter")
    folder = merge(base, tmp_path / "adapter", tmp_path / "merged", LABELS)
    merged = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert type(merged).__name__ == FAMILIES[family].classifier
    assert merged.config.id2label == dict(enumerate(LABELS)) and merged.config.label2id["good"] == 2
    assert_same_answers(merged, tuned, transformers.AutoTokenizer.from_pretrained(folder))
    for file in base.glob("*token*"):
        assert (folder / file.name).read_bytes() == file.read_bytes()
    tuned.merge_and_unload().save_pretrained(tmp_path / "theirs")
    assert_same_weights(weights(folder), weights(tmp_path / "theirs"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_equal_pefts(tmp_path, dtype):
    base, _, _ = make_base(tmp_path / "base")
    transformers.BertModel.from_pretrained(base).to(dtype).save_pretrained(base)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS), dtype=dtype)
    tuned = tune(model, peft.LoraConfig(task_type="SEQ_CLS", **CASES["everywhere"]), tmp_path / "adapter")
    tuned.merge_and_unload().save_pretrained(tmp_path / "theirs")
    folder = merge(base, tmp_path / "adapter", tmp_path / "merged", LABELS)
    assert_same_weights(weights(folder), weights(tmp_path / "theirs"))
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == str(dtype).removeprefix("torch.")
    assert transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto").dtype == dtype


def test_a_base_in_shards(tmp_path):
    base, _, tokenizer = make_base(tmp_path / "base")
    model = transformers.BertModel.from_pretrained(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="40KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS))
    tuned = tune(classifier, peft.LoraConfig(task_type="SEQ_CLS", **CASES["plain"]), tmp_path / "adapter")
    folder = merge(base, tmp_path / "adapter", tmp_path / "merged", LABELS)
    merged = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert_same_answers(merged, tuned, tokenizer)


def test_sentence_vectors_equal_peft(tmp_path):
    base, model, tokenizer = make_base(tmp_path / "base")
    tuned = tune(model, peft.LoraConfig(task_type="FEATURE_EXTRACTION", **CASES["patterns"]), tmp_path / "adapter")
    folder = merge(base, tmp_path / "adapter", tmp_path / "merged")
    merged = transformers.AutoModel.from_pretrained(folder).eval()
    for text in texts(8, seed=6):
        inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            assert (merged(**inputs).last_hidden_state - tuned(**inputs).last_hidden_state).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", T5_CASES)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_t5_equals_peft(tmp_path, kind, name):
    model = make_model(kind)
    base = save_model(model, tmp_path / "base", kind)
    tuned = tune(model, peft.LoraConfig(task_type="SEQ_2_SEQ_LM", **T5_CASES[name]), tmp_path / "adapter")
    folder = merge(base, tmp_path / "adapter", tmp_path / "merged")
    torch.manual_seed(1)
    rows = [(torch.randint(2, VOCAB, (1, source)), torch.randint(2, VOCAB, (1, target))) for source, target in ((3, 2), (17, 9), (60, 25))]
    with torch.no_grad():
        wanted = [tuned(input_ids=source, decoder_input_ids=target).logits for source, target in rows]
    ours, theirs = weights(folder), tuned.merge_and_unload().state_dict()
    aliases = {name for name in theirs if name.endswith("embed_tokens.weight") or (name == "lm_head.weight" and name not in ours)}
    assert_same_weights(ours, theirs, aliases)
    merged = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
    for (source, target), logits in zip(rows, wanted):
        with torch.no_grad():
            assert (merged(input_ids=source, decoder_input_ids=target).logits - logits).abs().max() <= TOLERANCE


def test_what_peft_stores_the_other_way_round_is_refused(tmp_path):
    base, model, _ = make_base(tmp_path / "base")
    tune(model, peft.LoraConfig(task_type="FEATURE_EXTRACTION", **CASES["plain"]), tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "fan_in_fan_out": True}))
    assert refused(base, tmp_path / "adapter", tmp_path / "merged").startswith("UNSUPPORTED fan_in_fan_out")


def test_a_tensor_that_is_missing_is_named(tmp_path):
    base, model, _ = make_base(tmp_path / "base")
    tune(model, peft.LoraConfig(task_type="FEATURE_EXTRACTION", **CASES["plain"]), tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    tensors = load_file(file)
    gone = "base_model.model.encoder.layer.1.attention.self.value.lora_B.weight"
    del tensors[gone]
    save_file(tensors, file, {"format": "pt"})
    assert refused(base, tmp_path / "adapter", tmp_path / "merged").startswith(f"ADAPTER_INVALID {gone}")

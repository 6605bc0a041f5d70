"""DPR's two encoders against transformers and peft: vectors, adapters of PEFT's both ways, and what the family has not."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402

from engine_test import LORA_CONFIGS, PROMPTS, Engine, EngineError, assert_close, lone, make_base, spread_weights, texts  # noqa: E402
from train_test import ToolError, run_tool, toy_rows, write_data  # noqa: E402

ENCODERS = ["DPRQuestionEncoder", "DPRContextEncoder"]


@pytest.fixture
def engine():
    child = Engine()
    yield child
    child.close()


def make_dpr(folder, encoder="DPRQuestionEncoder", **changes):
    folder, model, tokenizer = make_base(folder, family="dpr", max_position_embeddings=96, **changes)
    model = getattr(transformers, encoder)(model.config)
    spread_weights(model, seed=3)
    model.eval().save_pretrained(folder)
    return folder, model, tokenizer


def vectors(tokenizer, model, some):
    return lone(tokenizer, model, some, lambda out: out.pooler_output)


def tune(encoder, folder, config):
    model = getattr(transformers, encoder).from_pretrained(folder)
    kind = peft.PromptTuningConfig if "num_virtual_tokens" in config else peft.LoraConfig
    tuned = peft.get_peft_model(model, kind(task_type="FEATURE_EXTRACTION", **config))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.2)
    return tuned.eval()


@pytest.mark.parametrize("projection", [0, 20])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_vectors_equal_transformers(engine, tmp_path, encoder, projection):
    folder, model, tokenizer = make_dpr(tmp_path / "base", encoder, projection_dim=projection)
    assert engine("base", folder=folder)["pooling"] == "cls"
    some = texts(20)
    ours = engine.infer([{"text": t, "pooling": "cls"} for t in some])
    assert_close(ours, vectors(tokenizer, model, some))
    assert len(ours[0]) == (projection or 48)
    engine("base", folder=folder, precision="bf16")
    assert_close(engine.infer([{"text": t, "pooling": "cls"} for t in some]), ours, tolerance=0.3)


def test_a_pooler_of_old_files_is_left_alone(engine, tmp_path):
    folder, model, tokenizer = make_dpr(tmp_path / "base")
    file = folder / "model.safetensors"
    pooler = {f"question_encoder.bert_model.pooler.dense.{part}": torch.ones(shape) for part, shape in (("weight", (48, 48)), ("bias", 48))}
    save_file({**load_file(file), **pooler}, file, {"format": "pt"})
    engine("base", folder=folder)
    some = texts(4)
    assert_close(engine.infer([{"text": t, "pooling": "cls"} for t in some]), vectors(tokenizer, model, some))


CONFIGS = {**{name: LORA_CONFIGS[name] for name in ("plain", "patterns", "all-linear")},
           **{f"prompt, {name}": config for name, config in PROMPTS.items()}}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_adapters_of_pefts_both_ways(engine, tmp_path, encoder, name):
    folder, _, tokenizer = make_dpr(tmp_path / "base", encoder)
    tuned = tune(encoder, folder, CONFIGS[name])
    tuned.save_pretrained(tmp_path / "adapter")
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "adapter")
    some = texts(12, seed=2)
    ours = engine.infer([{"text": t, "adapter": "a", "pooling": "cls", "max_tokens": 64} for t in some])
    assert_close(ours, vectors(tokenizer, tuned, some))
    (tmp_path / "written").mkdir()
    engine("write", name="a", folder=tmp_path / "written")
    opened = peft.PeftModel.from_pretrained(getattr(transformers, encoder).from_pretrained(folder), tmp_path / "written").eval()
    assert_close(ours, vectors(tokenizer, opened, some))


def test_one_encoders_adapter_does_not_fit_the_other(engine, tmp_path):
    folder, _, _ = make_dpr(tmp_path / "questions")
    tune("DPRQuestionEncoder", folder, CONFIGS["plain"]).save_pretrained(tmp_path / "adapter")
    other, _, _ = make_dpr(tmp_path / "contexts", "DPRContextEncoder")
    engine("base", folder=other)
    with pytest.raises(EngineError) as error:
        engine("adapter", name="a", folder=tmp_path / "adapter")
    assert error.value.reason == "ADAPTER_INVALID" and "ctx_encoder.bert_model." in error.value.field


@pytest.mark.parametrize("method", ["lora", "prompt_tuning", "bottleneck", "full"])
def test_what_needs_a_classifier_is_refused(tmp_path, method):
    folder, _, _ = make_dpr(tmp_path / "base")
    with pytest.raises(ToolError) as error:
        run_tool(tmp_path, {"base": folder, "options": dict(method=method, max_steps=1),
                            "data": write_data(tmp_path, ["a", "b"], toy_rows(8, 2, seed=1))})
    assert (error.value.reason, error.value.field) == ("UNSUPPORTED", "method")


@pytest.mark.parametrize("projection", [0, 20])
def test_a_head_stands_on_its_vectors(tmp_path, projection):
    folder, _, _ = make_dpr(tmp_path / "base", projection_dim=projection)
    data = toy_rows(24, 2, seed=1)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": dict(method="head", max_steps=10),
                                "data": write_data(tmp_path, ["a", "b"], data, data[:4]), "logits": True})
    width = projection or 48
    assert lines["done"][0]["trainable_parameters"] == 2 * width + 2
    assert load_file(tmp_path / "out/head.safetensors")["classifier.weight"].shape == (2, width)
    assert len(lines["logits"][0]) == 4

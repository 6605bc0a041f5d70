"""Bottleneck adapters against AdapterHub's library `adapters`: files both ways, logits, losses step by step.

The library pins an older transformers, so its half (adapters_peer.py) runs in an environment of its own, which tests/run.sh makes."""

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from engine_test import Engine, assert_close, make_base, texts  # noqa: E402
from families import cases  # noqa: E402
from train_test import NO_DROPOUT, assert_losses, run_tool, toy_rows, write_data  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = pathlib.Path(os.environ.get("TENON_ADAPTERS_VENV", ROOT / "build/venv-adapters")) / "bin/python"
LAYOUTS = {
    "seq_bn": dict(layout="seq_bn", reduction_factor=4),
    "double_seq_bn": dict(layout="double_seq_bn", reduction_factor=6),
    "par_bn": dict(layout="par_bn", reduction_factor=3),
    "gelu": dict(layout="seq_bn", reduction_factor=4, non_linearity="gelu"),
    "tanh": dict(layout="double_seq_bn", reduction_factor=100, non_linearity="tanh"),
}


@pytest.fixture(scope="module")
def peer():
    if not PEER.exists():
        pytest.skip(f"{PEER} is missing; tests/run.sh makes it")
    child = subprocess.Popen([str(PEER), str(ROOT / "tests/parity/adapters_peer.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(**job):
        child.stdin.write(json.dumps(job, default=str) + "\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    yield ask
    child.stdin.close()
    child.wait(timeout=60)


@pytest.fixture
def engine():
    child = Engine()
    yield child
    child.close()


@pytest.mark.parametrize("family, name", cases(LAYOUTS))
def test_logits_equal_both_ways(engine, peer, tmp_path, family, name):
    folder, _, tokenizer = make_base(tmp_path / "base", family=family)
    made = peer(do="make", base=folder, labels=3, config=LAYOUTS[name], spread=0.2, out=tmp_path / "adapter")
    engine("base", folder=folder)
    loaded = engine("adapter", name="a", folder=tmp_path / "adapter")
    assert loaded["config"]["method"] == "bottleneck"
    assert loaded["config"]["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert loaded["parameters"] == made["parameters"]
    some = [tokenizer(t, truncation=True, max_length=64)["input_ids"] for t in texts(12, seed=2)]
    ours = engine.infer([{"ids": ids, "adapter": "a", "output": "logits"} for ids in some])
    assert_close(ours, peer(do="logits", base=folder, labels=3, adapter=tmp_path / "adapter", rows=some)["rows"])
    # What the engine writes opens there, and reads back here to the same bytes.
    (tmp_path / "written").mkdir()
    engine("write", name="a", folder=tmp_path / "written")
    assert_close(ours, peer(do="logits", base=folder, labels=3, adapter=tmp_path / "written", rows=some, seed=1)["rows"])
    engine("adapter", name="b", folder=tmp_path / "written")
    (tmp_path / "again").mkdir()
    engine("write", name="b", folder=tmp_path / "again")
    for file in sorted(p.name for p in (tmp_path / "written").iterdir()):
        assert (tmp_path / "written" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


@pytest.mark.parametrize("family, name", cases(["seq_bn", "double_seq_bn", "par_bn"]))
def test_losses_equal_adapters(peer, tmp_path, family, name):
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, **NO_DROPOUT)
    data = toy_rows(40, 3, seed=3)
    made = peer(do="make", base=folder, labels=3, config=LAYOUTS[name], spread=0, out=tmp_path / "initial")
    rows = [tokenizer(text, truncation=True, max_length=64)["input_ids"] for text, _ in data]
    theirs = peer(do="train", base=folder, labels=3, adapter=tmp_path / "initial", rows=rows, truth=[label[0] for _, label in data],
                  steps=20, batch=8, rate=1e-3)["losses"]
    options = dict(method="bottleneck", shuffle=False, max_steps=20, learning_rate=1e-3, **LAYOUTS[name])
    lines = run_tool(tmp_path, {"base": folder, "initial": tmp_path / "initial", "out": tmp_path / "out", "options": options,
                                "data": write_data(tmp_path, ["a", "b", "c"], data, data[:7]), "logits": True})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == made["parameters"]
    opened = peer(do="logits", base=folder, labels=3, adapter=tmp_path / "out", rows=rows[:7], seed=1)["rows"]
    np.testing.assert_allclose(lines["logits"][0], opened, atol=1e-4)

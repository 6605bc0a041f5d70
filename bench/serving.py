"""Classify and Embed through gRPC against transformers + PEFT and sentence-transformers: same weights, texts, threads and run.

    python bench/serving.py [--rounds 3] [--texts 1024] [--calls 64] [--threads 2] [--precisions fp32,bf16] [--only REGEX]

Our client sends the texts in that many calls, all in flight at once, for one model and for many alike; the peers get the texts as a
list, in batches of 32, and run beside nothing else. Every round measures each contender once, in turn, so that a change of the
machine's speed hits all alike; medians, spreads and ratios of the same round are printed. The best GEMM rate of the run stands
beside them as the machine's own limit.
"""

import argparse
import concurrent.futures
import json
import pathlib
import re
import shutil
import statistics
import tempfile
import time

import numpy
import torch
from peft import LoraConfig
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import splits
from peft_peer import minilm_folder, random_adapters
import environment  # noqa: F401
from tenon_process import channel, cli, stubs, tenon

ADAPTERS = 32
LABELS = 4


def gemm_rate(dtype):
    """Best of several [2048, 384] x [384, 1536] products, GFLOP/s."""
    a, b = torch.randn(2048, 384, dtype=dtype), torch.randn(1536, 384, dtype=dtype)
    best = 0.0
    for _ in range(60):
        start = time.perf_counter()
        torch.nn.functional.linear(a, b)
        best = max(best, 2 * 2048 * 384 * 1536 / (time.perf_counter() - start) / 1e9)
    return best


def classifier_base(folder):
    """MiniLM with a head of its own, as a base that classifies without an adapter."""
    torch.manual_seed(0)
    source = minilm_folder()
    AutoModelForSequenceClassification.from_pretrained(source, num_labels=LABELS).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "sentence_bert_config.json"):
        shutil.copy(source / name, folder)


def batches(tokenizer, texts, size, by_length):
    order = sorted(range(len(texts)), key=lambda i: len(texts[i])) if by_length else range(len(texts))
    order = list(order)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows, tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=256, return_tensors="pt")


def rate(function, count):
    start = time.perf_counter()
    function()
    return count / (time.perf_counter() - start)


class Tenon:
    """The texts in `calls` calls of like size, all in flight at once."""

    def __init__(self, ports, module, calls):
        self.calls = calls
        self.messages = module("inference_service_pb2")
        self.stub = module("inference_service_pb2_grpc").InferenceServiceStub(channel(ports))

    def _run(self, method, requests):
        for future in [method.future(request, timeout=600) for request in requests]:
            future.result()

    def classify(self, texts, models):
        """Call i goes to model i modulo their number."""
        self._run(self.stub.Classify, [self.messages.ClassifyRequest(texts=texts[i :: self.calls], **models[i % len(models)])
                                       for i in range(self.calls)])

    def embed(self, texts, base):
        self._run(self.stub.Embed, [self.messages.EmbedRequest(texts=texts[i :: self.calls], base=base) for i in range(self.calls)])


def peers(base, peft_model, names, texts, long_texts):
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = AutoModelForSequenceClassification.from_pretrained(base).eval()
    plain_bf16 = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.bfloat16).eval()
    sentence = SentenceTransformer(str(minilm_folder()), device="cpu")
    sentence_bf16 = SentenceTransformer(str(minilm_folder()), device="cpu", model_kwargs={"dtype": torch.bfloat16})

    @torch.inference_mode()
    def classify(model, by_length):
        for _, inputs in batches(tokenizer, texts, 32, by_length):
            model(**inputs)

    @torch.inference_mode()
    def mixed():
        for rows, inputs in batches(tokenizer, texts, 32, True):
            peft_model(**inputs, adapter_names=[names[i % ADAPTERS] for i in rows])

    @torch.inference_mode()
    def swapping():
        for i, name in enumerate(names):
            peft_model.set_adapter(name)
            for _, inputs in batches(tokenizer, texts[i::ADAPTERS], 32, True):
                peft_model(**inputs)

    return {
        "transformers classify, arrival order": lambda: classify(plain, False),
        "transformers classify, sorted by length": lambda: classify(plain, True),
        "transformers bf16 classify, sorted by length": lambda: classify(plain_bf16, True),
        f"PEFT classify, {ADAPTERS} adapters mixed": mixed,
        f"PEFT classify, {ADAPTERS} adapters swapped": swapping,
        "sentence-transformers embed": lambda: sentence.encode(long_texts, batch_size=32),
        "sentence-transformers bf16 embed": lambda: sentence_bf16.encode(long_texts, batch_size=32),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--only", default="", help="contenders whose names match; all of ours and of the peers by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", default="fp32,bf16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    module = stubs()
    texts = [row["text"] for row in splits.agnews()["judge"][: args.texts]]
    work = pathlib.Path(tempfile.mkdtemp(prefix="tenon-bench-"))
    base = work / "base"
    base.mkdir()
    classifier_base(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    # Texts of exactly 64 tokens: the corpus cut and joined again.
    stream = [token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
    long_texts = [tokenizer.decode(stream[i : i + 62]) for i in range(0, min(len(stream), 62 * args.texts) - 62, 62)]
    lora = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"])
    model = AutoModelForSequenceClassification.from_pretrained(base)
    peft_model, names = random_adapters(model, lora, ADAPTERS, "lora_B", work / "adapters")
    contenders = {name: (run, len(long_texts) if "embed" in name else len(texts))
                  for name, run in peers(base, peft_model, names, texts, long_texts).items()}
    rates = {}
    for precision in args.precisions.split(","):
        with tenon(work / precision, worker_flags=["--threads", str(args.threads), "--precision", precision]) as ports:
            cli(ports, "bases", "add", "headed", base)
            cli(ports, "bases", "add", "minilm", minilm_folder())
            for name in names:
                cli(ports, "adapters", "import", work / "adapters" / name, "--id", name, "--base", "headed")
            ours = Tenon(ports, module, args.calls)
            adapters = [{"adapter": name} for name in names]
            mine = {
                f"Tenon {precision} classify, base": (lambda: ours.classify(texts, [{"base": "headed"}]), len(texts)),
                f"Tenon {precision} classify, {ADAPTERS} adapters": (lambda: ours.classify(texts, adapters), len(texts)),
                f"Tenon {precision} embed": (lambda: ours.embed(long_texts, "minilm"), len(long_texts)),
            }
            both = {name: entry for name, entry in {**mine, **contenders}.items() if re.search(args.only, name)}
            for run, _ in both.values():
                run()  # warm-up
            for _ in range(args.rounds):
                for name, (run, count) in both.items():
                    rates.setdefault(name, {}).setdefault(precision, []).append(rate(run, count))
                for dtype, name in ((torch.float32, "GEMM fp32, GFLOP/s"), (torch.bfloat16, "GEMM bf16, GFLOP/s")):
                    rates.setdefault(name, {}).setdefault(precision, []).append(gemm_rate(dtype))
            report(rates, precision)
    shutil.rmtree(work)


def report(rates, precision):
    """Prints the block of rounds that ran beside the worker of this precision."""
    block = {name: by[precision] for name, by in rates.items() if precision in by}
    print(f"\n== beside the {precision} worker: texts/s, median (min-max)")
    for name, values in block.items():
        print(f"{name:48} {statistics.median(values):8.1f}  ({min(values):.1f}-{max(values):.1f})")

    def ratio(ours, theirs):
        if ours not in block or theirs not in block:
            return
        pairs = [a / b for a, b in zip(block[ours], block[theirs])]
        print(f"{ours} / {theirs}: {statistics.median(pairs):.2f}  ({min(pairs):.2f}-{max(pairs):.2f})")

    base, mixed, embed = (f"Tenon {precision} {what}" for what in ("classify, base", f"classify, {ADAPTERS} adapters", "embed"))
    ratio(base, "transformers classify, arrival order")
    ratio(base, "transformers classify, sorted by length")
    ratio(mixed, base)
    ratio(mixed, f"PEFT classify, {ADAPTERS} adapters mixed")
    ratio(mixed, f"PEFT classify, {ADAPTERS} adapters swapped")
    ratio(embed, "sentence-transformers embed")
    ratio(base, "transformers bf16 classify, sorted by length")
    ratio(embed, "sentence-transformers bf16 embed")
    print(json.dumps({name: numpy.round(values, 1).tolist() for name, values in block.items()}))


if __name__ == "__main__":
    main()

"""Whether training learns, from nothing: a small T5 with random weights and a vocabulary of its own is trained by method `full` on one task,
then adapters are trained on what came out for a second task, beside PEFT's (AdapterHub's for bottleneck) with the same base, rows and settings.

    python bench/learning.py [--second reverse] [--seeds 3] [--base-steps 2000] [--steps 300] [--threads 2] [--methods lora,prompt_tuning,bottleneck]
                             [--set lora:learning_rate=3e-3 ...] [--without-peers]

Texts are sequences of made-up words by a seeded rule. The base learns `copy:` and `reverse:` in front of them. The second task has no such word:
the model must find out what is wanted. Prints exact match of greedy texts on unseen rows: of the base on its own task before and after training,
then of the frozen base and of every method on the second task, by seed.
"""

import argparse
import itertools
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import environment  # noqa: F401
import sentencepiece
import torch
import transformers
from tenon_process import cli, tenon

PAD, EOS = 0, 1
LIMIT = 16  # tokens of a text, the end included
FIRST = {"copy": lambda words: words, "reverse": lambda words: words[::-1]}
SECOND = {"reverse": lambda words: words[::-1], "copy": lambda words: words, "swap": lambda words: [words[-1], *words[1:-1], words[0]],
          "ends": lambda words: [words[0], words[-1]], "sort": sorted}
# What each method is given beside batch size, steps and seed.
SETTINGS = {"lora": dict(r=8, alpha=16, dropout=0, target_modules="q,v", learning_rate=5e-3),
            "prompt_tuning": dict(num_virtual_tokens=8, init="vocabulary", learning_rate=0.3),
            "bottleneck": dict(layout="seq_bn", reduction_factor=8, learning_rate=3e-3)}
PEERS = {"lora": "PEFT", "prompt_tuning": "PEFT", "bottleneck": "AdapterHub"}
ADAPTERHUB = pathlib.Path(__file__).parents[1] / "build/venv-adapters/bin/python"


def words_of(count):
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    draw = random.Random(0)
    return sorted({draw.choice(syllables) + draw.choice(syllables) for _ in range(4 * count)})[:count]


def sequences(words, count, seed, longest):
    draw = random.Random(seed)
    return [[draw.choice(words) for _ in range(draw.randint(2, longest))] for _ in range(count)]


def first_task(texts, seed):
    draw = random.Random(seed)
    names = [draw.choice(sorted(FIRST)) for _ in texts]
    return [{"input": f"{name}: {' '.join(text)}", "target": " ".join(FIRST[name](text))} for name, text in zip(names, texts)]


def second_task(texts, name):
    return [{"input": " ".join(text), "target": " ".join(SECOND[name](text))} for text in texts]


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def make_base(folder, words, args):
    """A T5 that knows nothing, in files."""
    folder.mkdir()
    corpus = folder.parent / "corpus.txt"
    corpus.write_text("\n".join(row["input"] for row in first_task(sequences(words, 5000, 9, args.longest), 9)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spiece"), model_type="unigram", vocab_size=args.vocabulary, hard_vocab_limit=False,
        pad_id=PAD, eos_id=EOS, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", minloglevel=2)
    (folder / "spiece.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=pieces.vocab_size(), d_model=args.d_model, d_kv=args.d_model // args.heads, d_ff=args.d_ff,
                                   num_layers=args.layers, num_heads=args.heads, dropout_rate=args.dropout, decoder_start_token_id=PAD,
                                   eos_token_id=EOS, pad_token_id=PAD)
    model = transformers.T5ForConditionalGeneration(config)
    model.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>",
                                                              "unk_token": "<unk>", "pad_token": "<pad>"}))
    return sum(parameter.numel() for parameter in model.parameters())


def object_of(ports, *command):
    return json.loads(cli(ports, *command, "--output", "json").strip().splitlines()[-1])


def finetune(ports, base, name, method, rows, **options):
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    return object_of(ports, "jobs", "finetune", "--base", base, "--adapter", name, "--task", "seq2seq", "--method", method, "--train", rows,
                     "--set", f"max_target_tokens={LIMIT}", *words, "--wait")


def exact_matches(ports, base, rows, adapter=None):
    """Of the base and, where one is named, of its adapter."""
    job = object_of(ports, "jobs", "evaluate", "--task", "seq2seq", "--base", base, *(["--adapter", adapter] if adapter else []), "--data", rows,
                    "--input-template", "{input}", "--target-template", "{target}", "--max-new-tokens", LIMIT, "--wait")
    return [{metric["name"]: metric["value"] for metric in result["metrics"]}["exact_match"] for result in job["results"]]


def fetch(ports, work, base, folder):
    """The files of a base that a job made."""
    folder.mkdir()
    entry = next(entry for entry in object_of(ports, "bases", "list")["bases"] if entry["name"] == f"bases/{base}")
    for file in entry["files"]:
        blob = next(path for path in (work / "server/blobs").rglob(file["sha256"]) if path.is_file())
        (folder / file["path"]).write_bytes(blob.read_bytes())
    return folder


def peers_match(taught, method, settings, files, args, seed):
    """PEFT's on the same base, rows and settings; AdapterHub's, in its own environment, where PEFT has no such method."""
    python = ADAPTERHUB if method == "bottleneck" else sys.executable
    job = dict(base=str(taught), method=method, settings=settings, rows=str(files["second"]), test=str(files["second.test"]), steps=args.steps,
               batch=args.batch, limit=LIMIT, seed=seed, threads=args.threads)
    done = subprocess.run([python, pathlib.Path(__file__).with_name("learning_peer.py")], input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["exact_match"]


def settings_of(args):
    settings = {method: dict(SETTINGS[method]) for method in args.methods.split(",")}
    for choice in args.set:
        method, option = choice.split(":", 1)
        key, value = option.split("=", 1)
        settings[method][key] = value
    return settings


def run(args, work):
    words, settings = words_of(args.words), settings_of(args)
    parameters = make_base(work / "base", words, args)
    rows = {"first": first_task(sequences(words, args.base_rows, 1, args.longest), 1),
            "first.test": first_task(sequences(words, args.test_rows, 2, args.longest), 2),
            "second": second_task(sequences(words, args.rows, 3, args.longest), args.second),
            "second.test": second_task(sequences(words, args.test_rows, 4, args.longest), args.second)}
    for part in ("first", "second"):  # unseen means unseen
        seen = {row["input"] for row in rows[part]}
        rows[part + ".test"] = [row for row in rows[part + ".test"] if row["input"] not in seen]
    files = {name: write_rows(work / f"{name}.jsonl", part) for name, part in rows.items()}
    scores = {}

    def report(name, seed, value, **more):
        scores.setdefault(name, []).append(value)
        print(json.dumps({"model": name, "seed": seed, "exact_match": round(value, 4), **more}), flush=True)

    with tenon(work, worker_flags=["--threads", str(args.threads)]) as ports:
        cli(ports, "bases", "add", "empty", work / "base")
        report("base, untrained: first task", 0, exact_matches(ports, "empty", files["first.test"])[0], parameters=parameters)
        start = time.perf_counter()
        job = finetune(ports, "empty", "taught", "full", files["first"], batch_size=args.base_batch, max_steps=args.base_steps,
                       learning_rate=args.base_rate, warmup_steps=args.base_steps // 20, seed=0, save_steps=args.base_steps)
        seconds = time.perf_counter() - start
        report("base, Tenon full: first task", 0, exact_matches(ports, "taught", files["first.test"])[0], seconds=round(seconds, 1),
               result=job["result"]["base"])
        taught = fetch(ports, work, "taught", work / "taught")
        for method, seed in itertools.product(settings, range(args.seeds)):
            name = f"{method.replace('_', '-')}-{seed}"
            finetune(ports, "taught", name, method, files["second"], batch_size=args.batch, max_steps=args.steps, seed=seed,
                     save_steps=args.steps, weight_decay=0, **settings[method])
            frozen, adapted = exact_matches(ports, "taught", files["second.test"], name)
            if "frozen base" not in scores:
                report("frozen base", 0, frozen)
            report(f"Tenon {method}", seed, adapted)
            if not args.without_peers:
                report(f"{PEERS[method]} {method}", seed, peers_match(taught, method, settings[method], files, args, seed))
    for name, values in scores.items():
        print(f"{name:32} {statistics.mean(values):.4f}  ({min(values):.4f}-{max(values):.4f}, {len(values)} seeds)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    number = lambda name, default, kind=int: parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--second", choices=sorted(SECOND), default="reverse")
    parser.add_argument("--methods", default=",".join(SETTINGS))
    parser.add_argument("--set", action="append", default=[], metavar="METHOD:KEY=VALUE")
    parser.add_argument("--without-peers", action="store_true")
    for name, default in (("seeds", 3), ("threads", 2), ("words", 60), ("longest", 6), ("vocabulary", 120), ("d-model", 128), ("d-ff", 512),
                          ("layers", 3), ("heads", 4), ("base-rows", 20000), ("base-steps", 2000), ("base-batch", 32), ("rows", 1000),
                          ("test-rows", 200), ("steps", 300), ("batch", 16)):
        number(name, default)
    number("base-rate", 1e-3, float)
    number("dropout", 0.0, float)
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as work:
        run(parser.parse_args(), pathlib.Path(work))


if __name__ == "__main__":
    main()

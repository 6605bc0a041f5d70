"""Fine-tuning jobs against PEFT's loop: accuracy with the same settings, and examples a second in the same run.

    python bench/training.py accuracy --data DIR --set agnews [--seeds 3] [--set-option learning_rate=1e-3 ...]
    python bench/training.py speed --data DIR [--rounds 3] [--steps 60] [--threads 2]

DIR is what bench/splits.py wrote.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import tempfile

import torch
from transformers import AutoTokenizer

from peft_peer import Encoded, minilm_folder, read, rates as peer_rates
import environment  # noqa: F401
from tenon_process import cli, tenon


def finetune(ports, adapter, train_file, options, method="lora", validation=None):
    """Runs a job to its end and returns it as the CLI's JSON."""
    command = ["jobs", "finetune", "--base", "minilm", "--adapter", adapter, "--task", "sequence_classification", "--method", method,
               "--train", train_file, "--wait", "--output", "json"]
    if validation:
        command += ["--validation", validation]
    for option in options:
        command += ["--set", option]
    return json.loads(cli(ports, *command).strip().splitlines()[-1])


def evaluate(ports, adapter, rows):
    job = json.loads(cli(ports, "jobs", "evaluate", "--base", "minilm", "--adapter", adapter, "--task", "sequence_classification",
                         "--data", rows, "--wait", "--output", "json").strip().splitlines()[-1])
    return {metric["name"]: metric["value"] for metric in job["results"][0]["metrics"]}


@contextlib.contextmanager
def service(args):
    """Ports of a server and a worker on a folder that is gone afterwards, however the run ends."""
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as work:
        with tenon(pathlib.Path(work), worker_flags=["--threads", str(args.threads)]) as ports:
            yield ports


def run_accuracy(args):
    part = {name: f"{args.data}/{args.set}.{name}.jsonl" for name in ("train", "choose", "judge")}
    options = ["batch_size=8", "max_steps=500", *(["r=8", "alpha=16"] if args.method == "lora" else []), *args.set_option]
    scores = []
    with service(args) as ports:
        cli(ports, "bases", "add", "minilm", minilm_folder())
        for seed in range(args.seeds):
            adapter = f"{args.method}-{seed}"
            job = finetune(ports, adapter, part["train"], [*options, f"seed={seed}"], args.method, part["choose"] if args.choose else None)
            judged = evaluate(ports, adapter, part["judge"])
            scores.append(judged["accuracy"])
            print(json.dumps({"seed": seed, "judge": judged, "result": job["result"]}), flush=True)
    print(f"mean accuracy on judging rows: {statistics.mean(scores):.4f} over {len(scores)} seeds ({min(scores):.4f}-{max(scores):.4f})")


def run_speed(args):
    torch.set_num_threads(args.threads)
    folder = minilm_folder()
    rows = f"{args.data}/agnews.train.jsonl"
    encoded = Encoded(AutoTokenizer.from_pretrained(folder), read(rows), 256)
    rates = {}
    with service(args) as ports:
        cli(ports, "bases", "add", "minilm", folder)
        for index in range(args.rounds + 1):
            measured = {}
            for precision in ("fp32", "bf16"):
                job = finetune(ports, f"{precision}-{index}", rows,
                               ["batch_size=8", f"max_steps={args.steps}", "seed=0", f"precision={precision}", f"save_steps={args.steps}"])
                measured[f"Tenon {precision}"] = 8 * args.steps / job["result"]["trainSeconds"]
            measured.update({f"PEFT {kind}": rate for kind, rate in peer_rates(folder, encoded, args.steps).items()})
            if index > 0:  # the first round warms up
                print(json.dumps({name: round(value, 1) for name, value in measured.items()}), flush=True)
                for name, value in measured.items():
                    rates.setdefault(name, []).append(value)
    for name, values in rates.items():
        print(f"{name:24} {statistics.median(values):7.1f} examples/s  ({min(values):.1f}-{max(values):.1f})")
    fastest = [max(values) for values in zip(*(rates[name] for name in rates if name.startswith("PEFT")))]
    for name, theirs in (("Tenon fp32", rates["PEFT fp32"]), ("Tenon bf16", fastest)):
        pairs = [a / b for a, b in zip(rates[name], theirs)]
        print(f"{name} / {'PEFT fp32' if theirs is not fastest else 'fastest PEFT'}: {statistics.median(pairs):.2f} ({min(pairs):.2f}-{max(pairs):.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    accuracy = commands.add_parser("accuracy")
    accuracy.add_argument("--set", required=True)
    accuracy.add_argument("--seeds", type=int, default=3)
    accuracy.add_argument("--method", default="lora")
    accuracy.add_argument("--choose", action="store_true", help="pass the choosing rows as validation rows")
    accuracy.add_argument("--set-option", action="append", default=[])
    speed = commands.add_parser("speed")
    speed.add_argument("--rounds", type=int, default=3)
    speed.add_argument("--steps", type=int, default=60)
    for command in (accuracy, speed):
        command.add_argument("--data", required=True)
        command.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    {"accuracy": run_accuracy, "speed": run_speed}[args.command](args)


if __name__ == "__main__":
    main()

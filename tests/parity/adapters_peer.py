"""AdapterHub's half of bottleneck_test.py, run by the Python of its own environment: one job as JSON a line on standard
input, one object a line on standard output.

  {"do": "make", "base", "labels", "config": {...}, "spread", "out"}          a new adapter, saved
  {"do": "logits", "base", "labels", "adapter", "rows": [[ids]]}              of each row alone
  {"do": "train", "base", "labels", "adapter", "rows": [[ids]], "truth": [i], "steps", "batch", "rate"}     losses
"""

import json
import sys

import adapters
import torch
import transformers

KINDS = {"seq_bn": adapters.SeqBnConfig, "double_seq_bn": adapters.DoubleSeqBnConfig, "par_bn": adapters.ParBnConfig}


def classifier(job):
    torch.manual_seed(job.get("seed", 0))
    model = transformers.BertForSequenceClassification.from_pretrained(job["base"], num_labels=job["labels"])
    adapters.init(model)
    return model


def opened(job):
    model = classifier(job)
    model.load_adapter(job["adapter"], load_as="peer", with_head=True, use_safetensors=True, set_active=True)
    return model


def make(job):
    model = classifier(job)
    config = dict(job["config"])
    model.add_adapter("tickets", config=KINDS[config.pop("layout")](**config))
    model.train_adapter("tickets")
    if job["spread"]:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, job["spread"])
    model.save_adapter(job["out"], "tickets", with_head=True, use_safetensors=True)
    return {"parameters": sum(p.numel() for p in model.parameters() if p.requires_grad)}


def logits(job):
    model = opened(job).eval()
    with torch.no_grad():
        return {"rows": [model(input_ids=torch.tensor([ids])).logits[0].tolist() for ids in job["rows"]]}


def train(job):
    model = opened(job)
    model.train_adapter("peer")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["rate"], weight_decay=0.0)
    scheduler = transformers.get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=job["steps"])
    losses, place = [], 0
    model.train()
    for _ in range(job["steps"]):
        rows, truth = job["rows"][place:place + job["batch"]], job["truth"][place:place + job["batch"]]
        place = 0 if place + job["batch"] >= len(job["rows"]) else place + job["batch"]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor(truth)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return {"losses": losses}


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    for line in sys.stdin:
        given = json.loads(line)
        print(json.dumps({"make": make, "logits": logits, "train": train}[given["do"]](given)), file=answers, flush=True)

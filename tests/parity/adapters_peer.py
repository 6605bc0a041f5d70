"""AdapterHub's half of bottleneck_test.py and t5_tuning_test.py, run by the Python of its own environment: one job as JSON a line on standard
input, one object a line on standard output.

  {"do": "make", "base", "labels", "config": {...}, "spread", "out"}          a new adapter, saved
  {"do": "logits", "base", "labels", "adapter", "rows": [[ids]]}              of each row alone
  {"do": "train", "base", "labels", "adapter", "rows": [[ids]], "truth": [i], "steps", "batch", "rate"}     losses
  {"do": "make_t5", "base", "config": {...}, "spread", "out"}
  {"do": "train_t5", "base", "adapter", "rows": [{"source": [ids], "target": [ids]}], "steps", "batch", "rate"}     losses
  {"do": "t5_logits", "base", "adapter", "rows": [{"source": [ids], "tokens": [ids]}]}        of each row alone
  {"do": "t5_generate", "base", "adapter", "sources": [[ids]], "options": {...}}    sequences of each, of one length together
"""

import json
import sys

import adapters
import torch
import transformers

KINDS = {"seq_bn": adapters.SeqBnConfig, "double_seq_bn": adapters.DoubleSeqBnConfig, "par_bn": adapters.ParBnConfig}


def classifier(job):
    torch.manual_seed(job.get("seed", 0))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(job["base"], num_labels=job["labels"])
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


def writer(job):
    model = transformers.T5ForConditionalGeneration.from_pretrained(job["base"])
    adapters.init(model)
    if "adapter" in job:
        model.load_adapter(job["adapter"], load_as="peer", with_head=True, use_safetensors=True, set_active=True)
    return model.eval()


def make_t5(job):
    torch.manual_seed(job.get("seed", 0))
    model = writer(job)
    config = dict(job["config"])
    model.add_adapter("texts", config=KINDS[config.pop("layout")](**config))
    model.train_adapter("texts")
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.normal_(0, job["spread"])
    model.save_adapter(job["out"], "texts", with_head=job.get("head", True), use_safetensors=True)
    return {"parameters": sum(p.numel() for p in trained)}


def train_t5(job):
    model = writer(job)
    model.train_adapter("peer")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["rate"], weight_decay=0.0)
    scheduler = transformers.get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=job["steps"])
    losses, place = [], 0
    model.train()
    for _ in range(job["steps"]):
        rows = job["rows"][place:place + job["batch"]]
        place = 0 if place + job["batch"] >= len(job["rows"]) else place + job["batch"]

        def padded(lists, value):
            longest = max(map(len, lists))
            return torch.tensor([one + [value] * (longest - len(one)) for one in lists])
        sources = [row["source"] for row in rows]
        loss = model(input_ids=padded(sources, 0), attention_mask=padded([[1] * len(source) for source in sources], 0),
                     labels=padded([row["target"] for row in rows], -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return {"losses": losses}


def t5_logits(job):
    model = writer(job)
    with torch.no_grad():
        return {"rows": [model(input_ids=torch.tensor([row["source"]]), decoder_input_ids=torch.tensor([row["tokens"]])).logits[0].tolist()
                         for row in job["rows"]]}


def t5_generate(job):
    model, sources, each = writer(job), job["sources"], job["options"].get("num_return_sequences", 1)
    results = [None] * len(sources)
    for length in {len(source) for source in sources}:
        places = [i for i, source in enumerate(sources) if len(source) == length]
        with torch.no_grad():
            rows = model.generate(input_ids=torch.tensor([sources[i] for i in places]), **job["options"])[:, 1:].tolist()
        for k, i in enumerate(places):
            results[i] = rows[k * each:(k + 1) * each]
    return {"rows": results}


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    jobs = {"make": make, "logits": logits, "train": train, "make_t5": make_t5, "train_t5": train_t5,
            "t5_logits": t5_logits, "t5_generate": t5_generate}
    for line in sys.stdin:
        given = json.loads(line)
        print(json.dumps(jobs[given["do"]](given)), file=answers, flush=True)

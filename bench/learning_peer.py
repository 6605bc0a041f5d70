"""The peers' half of learning.py: one adapter trained by PEFT, or by AdapterHub's library, in plain PyTorch, and its exact match on unseen rows.

A job as JSON on standard input, {"exact_match"} on standard output; rows are files of {"input", "target"} a line.
"""

import json
import pathlib
import random
import sys

import sentencepiece
import torch
import transformers

PAD, EOS = 0, 1


def adapted(base, method, settings):
    """The model with a new adapter, and nothing else to train."""
    model = transformers.T5ForConditionalGeneration.from_pretrained(base)
    if method == "bottleneck":
        import adapters  # in an environment of its own

        kinds = {"seq_bn": adapters.SeqBnConfig, "double_seq_bn": adapters.DoubleSeqBnConfig, "par_bn": adapters.ParBnConfig}
        adapters.init(model)
        model.add_adapter("second", config=kinds[settings["layout"]](reduction_factor=int(settings["reduction_factor"])))
        model.train_adapter("second")
        return model
    import peft

    if method == "lora":
        config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=int(settings["r"]), lora_alpha=float(settings["alpha"]),
                                 lora_dropout=float(settings["dropout"]), target_modules=settings["target_modules"].split(","))
    else:
        init = {"vocabulary": "SAMPLE_VOCAB", "random": "RANDOM"}[settings["init"]]
        config = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=int(settings["num_virtual_tokens"]),
                                         prompt_tuning_init=init, num_transformer_submodules=1)
    return peft.get_peft_model(model, config)


class Texts:
    def __init__(self, base, limit):
        self.pieces, self.limit = sentencepiece.SentencePieceProcessor(model_file=str(pathlib.Path(base) / "spiece.model")), limit

    def tensor(self, texts, pad):
        rows = [[*self.pieces.encode(text)[: self.limit - 1], EOS] for text in texts]
        return torch.tensor([row + [pad] * (max(map(len, rows)) - len(row)) for row in rows])

    def decode(self, ids):
        return self.pieces.decode([token for token in ids if token not in (PAD, EOS)])


def train(model, texts, job, rows):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=float(job["settings"]["learning_rate"]), weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, job["steps"])
    draw, order = random.Random(job["seed"]), []
    model.train()
    for _ in range(job["steps"]):
        if len(order) < job["batch"]:
            order = draw.sample(range(len(rows)), len(rows))
        part, order = [rows[i] for i in order[: job["batch"]]], order[job["batch"] :]
        inputs = texts.tensor([row["input"] for row in part], PAD)
        labels = texts.tensor([row["target"] for row in part], -100)
        model(input_ids=inputs, attention_mask=(inputs != PAD).long(), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


@torch.no_grad()
def exact_match(model, texts, limit, rows):
    right = 0
    for start in range(0, len(rows), 64):
        part = rows[start : start + 64]
        inputs = texts.tensor([row["input"] for row in part], PAD)
        written = model.generate(input_ids=inputs, attention_mask=(inputs != PAD).long(), max_new_tokens=limit, do_sample=False)
        right += sum(texts.decode(ids) == row["target"] for row, ids in zip(part, written.tolist(), strict=True))
    return right / len(rows)


def read(file):
    return [json.loads(line) for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines()]


def main():
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    texts = Texts(job["base"], job["limit"])
    model = adapted(job["base"], job["method"], job["settings"])
    train(model, texts, job, read(job["rows"]))
    print(json.dumps({"exact_match": exact_match(model, texts, job["limit"], read(job["test"]))}))


if __name__ == "__main__":
    main()

"""Greedy generation with FLAN-T5-small's shape: our engine against transformers, PEFT and, where it is installed, CTranslate2.

    python bench/generation.py --tool build/release/bin/tenon-t5-tool [--rounds 3] [--batches 1,8,32] [--source 128] [--steps 64]
                               [--threads 2] [--precision fp32] [--tokenizer DIR]

Same random weights, sources and number of tokens for everybody; each round measures each contender once, in turn, and medians are
printed with ratios of the same round. Ours is timed as the engine runs it: sources read, then one step a token. CTranslate2's
converter needs a T5 tokenizer: a folder with spiece.model or tokenizer.json.
"""

import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import peft
import torch
import transformers
from safetensors.torch import save_file

FLAN_SMALL = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_decoder_layers=8, num_heads=6,
                  feed_forward_proj="gated-gelu", decoder_start_token_id=0)
ADAPTERS = 32


class Ours:
    def __init__(self, tool, folder, precision, threads):
        self.process = subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.info = self("base", folder=str(folder), precision=precision, threads=threads)

    def __call__(self, cmd, **fields):
        self.process.stdin.write(json.dumps({"cmd": cmd, **fields}) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        assert "error" not in reply, reply
        return reply

    def seconds(self, sources, steps, adapters=()):
        rows = [{"source": source, "adapter": adapters[i % len(adapters)] if adapters else ""} for i, source in enumerate(sources)]
        reply = self("time", rows=rows, steps=steps)
        return reply["join"] + reply["steps"]


def make_base(folder, tokenizer):
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**FLAN_SMALL, tie_word_embeddings=False)).eval()
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.05)
    folder.mkdir()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_dict(), "tie_word_embeddings": False, "architectures": ["T5ForConditionalGeneration"]}
    config.pop("scale_decoder_outputs", None)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("spiece.model", "tokenizer.json"):
        for file in pathlib.Path(tokenizer).glob(f"*{name}"):
            shutil.copy(file, folder / name)
    return model


def make_adapters(model, folder):
    config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=8, lora_alpha=16, target_modules=["q", "v"])
    wrapped = peft.get_peft_model(model, config)
    for i in range(ADAPTERS):
        torch.manual_seed(i)
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if "lora_" in name:
                    parameter.normal_(0, 0.02)
        wrapped.save_pretrained(folder / f"a{i}")
    return wrapped.eval()


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def generate(model, sources, steps):
    with torch.inference_mode():
        out = model.generate(input_ids=torch.tensor(sources), max_new_tokens=steps, min_new_tokens=steps, do_sample=False, num_beams=1)
    assert out.shape[1] == steps + 1


def ctranslate2_peer(folder, work, precision, threads):
    try:
        import ctranslate2
    except ImportError:
        return None
    from ctranslate2.converters import TransformersConverter

    try:
        TransformersConverter(str(folder)).convert(str(work / "ct2"))
    except Exception as error:  # its converter lags behind transformers at times
        print(f"CTranslate2 is left out: {error}", flush=True)
        return None
    translator = ctranslate2.Translator(str(work / "ct2"), compute_type={"fp32": "float32", "bf16": "bfloat16"}[precision],
                                        intra_threads=threads, inter_threads=1)
    names = transformers.AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens

    def run(sources, steps):
        results = translator.translate_batch([names(source) for source in sources], beam_size=1, min_decoding_length=steps,
                                             max_decoding_length=steps, max_batch_size=0)
        assert all(len(result.hypotheses[0]) >= steps - 1 for result in results)

    return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", default="build/release/bin/tenon-t5-tool")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--source", type=int, default=128)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--tokenizer", required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        model = make_base(work / "base", args.tokenizer)
        if args.precision == "bf16":
            model = model.bfloat16()
        tool = Ours(args.tool, work / "base", args.precision, args.threads)
        ct2 = ctranslate2_peer(work / "base", work, args.precision, args.threads)
        wrapped = make_adapters(transformers.T5ForConditionalGeneration.from_pretrained(work / "base", dtype=model.dtype), work)
        names = [f"a{i}" for i in range(ADAPTERS)]
        for name in names:
            tool("adapter", name=name, folder=str(work / name))
        draw = random.Random(0)
        for batch in map(int, args.batches.split(",")):
            sources = [[draw.randrange(3, 32000) for _ in range(args.source - 1)] + [1] for _ in range(batch)]
            contenders = {
                "ours": lambda: tool.seconds(sources, args.steps),
                "ours, one adapter": lambda: tool.seconds(sources, args.steps, names[:1]),
                "ours, 32 adapters": lambda: tool.seconds(sources, args.steps, names),
                "transformers": lambda: timed(lambda: generate(model, sources, args.steps)),
                "PEFT, one adapter": lambda: timed(lambda: generate(wrapped, sources, args.steps)),
            }
            if ct2 is not None:
                contenders["CTranslate2"] = lambda: timed(lambda: ct2(sources, args.steps))
            rounds = [{name: call() for name, call in contenders.items()} for _ in range(args.rounds + 1)][1:]  # the first warms
            tokens = batch * args.steps
            for name in contenders:
                median = statistics.median(one[name] for one in rounds)
                ratio = statistics.median(one[name] / one["ours"] for one in rounds)
                print(f"batch {batch:3} {name:20} {tokens / median:8.0f} tokens/s  {1000 * median / args.steps:7.2f} ms a step  "
                      f"{ratio:6.2f} times ours")
            extra = statistics.median(one["ours, 32 adapters"] / one["ours, one adapter"] for one in rounds)
            print(f"batch {batch:3} 32 adapters cost {100 * (extra - 1):.1f} % over one", flush=True)


if __name__ == "__main__":
    sys.exit(main())

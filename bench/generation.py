"""Generation through gRPC against transformers, PEFT and CTranslate2: FLAN-T5-small's shape, same weights, texts, lengths, threads and run.

    python bench/generation.py --tokenizer DIR [--rounds 3] [--batches 1,8,32] [--beams 1,4] [--source 128] [--steps 32]
                               [--threads 2] [--precision fp32] [--only REGEX]

Every text is cut to --source tokens and continued by exactly --steps. Our client sends a batch as calls of one text each, all in flight
at once, on the base, on one adapter and on 32; the peers get it as one batch and run beside nothing else. PEFT answers 32 adapters in one
mixed batch (`adapter_names`) or one after the other (`set_adapter`); CTranslate2 has one adapter merged into its weights. Every round
measures each contender once, in turn; medians, spreads and ratios of the same round are printed. DIR holds a T5's spiece.model and
tokenizer.json. Without CTranslate2 (`pip install ctranslate2`) its lines are left out.
"""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import tempfile
import time

import peft
import torch
import transformers
from safetensors.torch import save_file

import environment  # noqa: F401
import splits
from peft_peer import random_adapters
from tenon_process import channel, cli, stubs, tenon

FLAN_SMALL = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_decoder_layers=8, num_heads=6,
                  feed_forward_proj="gated-gelu", decoder_start_token_id=0, tie_word_embeddings=False)
ADAPTERS = 32
LORA = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=8, lora_alpha=16, target_modules=["q", "v"])
TOKENIZER_FILES = ("spiece.model", "tokenizer.json")


def save_base(model, folder, tokenizer):
    folder.mkdir()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_dict(), "tie_word_embeddings": False, "architectures": ["T5ForConditionalGeneration"]}
    config.pop("scale_decoder_outputs", None)
    (folder / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER_FILES:
        shutil.copy(pathlib.Path(tokenizer) / name, folder / name)


def make_base(folder, tokenizer):
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**FLAN_SMALL)).eval()
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.05)
    save_base(model, folder, tokenizer)


def read_base(folder, dtype):
    return transformers.T5ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()


class Tenon:
    """A batch as calls of one text each, all in flight at once; text i goes to model i modulo their number."""

    def __init__(self, ports, module, args):
        self.messages, self.args = module("inference_service_pb2"), args
        self.stub = module("inference_service_pb2_grpc").InferenceServiceStub(channel(ports))

    def __call__(self, texts, beams, models):
        config = self.messages.GenerationConfig(max_new_tokens=self.args.steps, min_new_tokens=self.args.steps, num_beams=beams)
        calls = [self.stub.Generate.future(
            self.messages.GenerateRequest(texts=[text], generation=config, max_input_tokens=self.args.source, **models[i % len(models)]),
            timeout=600) for i, text in enumerate(texts)]
        for call in calls:
            generation = call.result().generations[0]
            assert (generation.input_tokens, generation.output_tokens) == (self.args.source, self.args.steps), generation


class Transformers:
    def __init__(self, model, args):
        self.model, self.args = model, args

    @torch.inference_mode()
    def __call__(self, sources, beams, **more):
        out = self.model.generate(input_ids=torch.tensor(sources), max_new_tokens=self.args.steps, min_new_tokens=self.args.steps,
                                  do_sample=False, num_beams=beams, **more)
        assert out.shape == (len(sources), self.args.steps + 1)

    def swapped(self, sources, beams, names):
        """One adapter after the other, the rows of each in a batch."""
        for i, name in enumerate(names[: len(sources)]):
            self.model.set_adapter(name)
            self(sources[i :: len(names)], beams)
        self.model.set_adapter(names[0])


def ctranslate2_peer(wrapped, name, work, args):
    """Generation by CTranslate2 of the base with this adapter merged; none where it is not installed."""
    try:
        import ctranslate2
    except ImportError:
        print("CTranslate2 is not installed: left out")
        return None
    from ctranslate2.converters import TransformersConverter

    merged = work / "merged"
    peft.PeftModel.from_pretrained(read_base(work / "base", torch.float32), wrapped / name).merge_and_unload().save_pretrained(merged)
    for file in TOKENIZER_FILES:
        shutil.copy(work / "base" / file, merged / file)
    TransformersConverter(str(merged)).convert(str(work / "ct2"))
    translator = ctranslate2.Translator(str(work / "ct2"), compute_type={"fp32": "float32", "bf16": "bfloat16"}[args.precision],
                                        intra_threads=args.threads, inter_threads=1)
    names = transformers.AutoTokenizer.from_pretrained(merged).convert_ids_to_tokens

    def run(sources, beams):
        results = translator.translate_batch([names(source) for source in sources], beam_size=beams, min_decoding_length=args.steps,
                                             max_decoding_length=args.steps, max_batch_size=0)
        assert all(len(result.hypotheses[0]) >= args.steps - 1 for result in results)

    return run


def long_texts(tokenizer, count, tokens):
    """Texts of more tokens than are read, made of the news that the other benchmarks use, and what a peer reads of each."""
    news = [row["text"] for row in splits.agnews()["judge"][: count * (tokens // 16 + 1)]]
    texts = [" ".join(news[i::count]) for i in range(count)]
    sources = [tokenizer(text, truncation=True, max_length=tokens)["input_ids"] for text in texts]
    assert all(len(source) == tokens for source in sources)
    return texts, sources


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values, digits):
    return f"{statistics.median(values):8.{digits}f}  ({min(values):.{digits}f}-{max(values):.{digits}f})"


def report(batch, beams, rounds, tokens):
    title = f"batch {batch:2} {'greedy' if beams == 1 else f'beam {beams}'}"
    for name in rounds[0]:
        print(f"{title:16} {name:28} {spread([tokens / one[name] for one in rounds], 1)} tokens/s")

    def ratio(label, ours, theirs):
        if ours in rounds[0] and theirs in rounds[0]:
            print(f"{title:16} {label:44} {spread([one[theirs] / one[ours] for one in rounds], 2)}")

    many, one = f"Tenon, {ADAPTERS} adapters", "Tenon, one adapter"
    ratio(f"{ADAPTERS} adapters / PEFT mixed", many, "PEFT mixed")
    ratio(f"{ADAPTERS} adapters / PEFT swapped", many, "PEFT swapped")
    ratio("base / transformers", "Tenon, base", "transformers")
    ratio("one adapter / CTranslate2 merged", one, "CTranslate2, one merged")
    ratio("32 adapters / one adapter", many, one)
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--beams", default="1,4")
    parser.add_argument("--source", type=int, default=128)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--only", default="", help="contenders whose names match")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.precision]
    module = stubs()
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as work:
        work = pathlib.Path(work)
        make_base(work / "base", args.tokenizer)
        plain = Transformers(read_base(work / "base", dtype), args)
        wrapped, names = random_adapters(read_base(work / "base", dtype), LORA, ADAPTERS, "lora_", work / "adapters")
        ct2 = ctranslate2_peer(work / "adapters", names[0], work, args)
        wrapped = Transformers(wrapped, args)
        tokenizer = transformers.AutoTokenizer.from_pretrained(work / "base")
        with tenon(work / "tenon", worker_flags=["--threads", str(args.threads), "--precision", args.precision]) as ports:
            cli(ports, "bases", "add", "flan", work / "base")
            for name in names:
                cli(ports, "adapters", "import", work / "adapters" / name, "--id", name, "--base", "flan")
            ours = Tenon(ports, module, args)
            for batch in map(int, args.batches.split(",")):
                texts, sources = long_texts(tokenizer, batch, args.source)
                rows = [names[i % ADAPTERS] for i in range(batch)]
                for beams in map(int, args.beams.split(",")):
                    contenders = {
                        "Tenon, base": lambda: ours(texts, beams, [{"base": "flan"}]),
                        "Tenon, one adapter": lambda: ours(texts, beams, [{"adapter": names[0]}]),
                        f"Tenon, {ADAPTERS} adapters": lambda: ours(texts, beams, [{"adapter": name} for name in names]),
                        "transformers": lambda: plain(sources, beams),
                        "PEFT, one adapter": lambda: wrapped(sources, beams),
                        "PEFT mixed": lambda: wrapped(sources, beams, adapter_names=rows),
                        "PEFT swapped": lambda: wrapped.swapped(sources, beams, names),
                        **({"CTranslate2, one merged": lambda: ct2(sources, beams)} if ct2 else {}),
                    }
                    contenders = {name: call for name, call in contenders.items() if re.search(args.only, name)}
                    for call in contenders.values():
                        call()  # warm-up
                    report(batch, beams, [{name: seconds(call) for name, call in contenders.items()} for _ in range(args.rounds)],
                           batch * args.steps)


if __name__ == "__main__":
    main()

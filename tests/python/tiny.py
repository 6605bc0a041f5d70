"""Small models and data made at test time: a BERT with random weights, a toy task it can learn, and PEFT adapters."""

import json
import pathlib
import random

WORDS = {
    "billing": "invoice refund charge payment card price receipt tax discount fee".split(),
    "delivery": "parcel courier late address shipping box tracking door truck route".split(),
    "account": "password login email name profile locked reset code device session".split(),
}
FILLER = "the my is was for with about please today again still never after before order customer it this that and".split()


def make_base(folder, *, hidden=64, layers=4, heads=4, seed=0):
    """Writes a BertModel with random weights and a WordPiece vocabulary; returns the folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [str(d) for d in range(10)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters), *".,!?'-",
             *(word for words in WORDS.values() for word in words), *FILLER]
    vocab = list(dict.fromkeys(vocab))
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(vocab), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=2 * hidden, max_position_embeddings=128)
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    return folder


def toy_rows(count, seed=0):
    """Rows of a task that a small model learns: which of three topics a text is about."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label = draw.choice(sorted(WORDS))
        words = draw.sample(WORDS[label], draw.randint(1, 3)) + draw.choices(FILLER, k=draw.randint(3, 20))
        draw.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return rows


def write_jsonl(path, rows):
    path = pathlib.Path(path)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_t5(folder, vocabulary, *, seed=0):
    """Writes a small T5 with random weights and the real tokenizer.json `vocabulary`; returns transformers' model and tokenizer."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5TokenizerFast

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = T5Config(vocab_size=32128, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.0,
                      decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)
    model = T5ForConditionalGeneration(config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Large enough that what is read decides what is written, and that the best two tokens seldom tie.
            if "layer_norm" not in name:
                parameter.normal_(0, 1.0 if name == "shared.weight" else 1.2 * parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)
    tokenizer = T5TokenizerFast(tokenizer_file=str(vocabulary))
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def make_bart(folder, *, seed=0):
    """Writes a small BART with random weights and a tokenizer of single bytes, which searches as the published summarisers do; returns
    transformers' model and tokenizer."""
    import torch
    from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # What a terminal shows as it stands.
    letters = [letter for byte, letter in bytes_to_unicode().items() if 32 <= byte < 127]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    config = BartConfig(vocab_size=len(pieces), d_model=64, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=128, decoder_ffn_dim=128,
                        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=80, dropout=0.0)
    model = BartForConditionalGeneration(config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Large enough that what is read decides what is written, and that the best two tokens seldom tie.
            if name.endswith("weight") and "norm" not in name:
                table = "shared" in name or "embed_" in name
                parameter.normal_(0, 0.3 if table else 1.4 * parameter.shape[1] ** -0.5)
    for key, value in dict(num_beams=4, early_stopping=True, no_repeat_ngram_size=3, forced_bos_token_id=0, min_length=5,
                           length_penalty=2.0, max_length=24).items():
        setattr(model.generation_config, key, value)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BartTokenizer", "model_max_length": 80}))
    return model, AutoTokenizer.from_pretrained(folder)


def make_gpt2(folder, vocabulary, merges, *, seed=0):
    """Writes a small GPT-2 with random weights and the real files of its tokenizer; returns transformers' model and tokenizer."""
    import shutil

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=96)).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                # A Conv1D's weight is [in, out].
                parameter.normal_(0, 0.4 if ".w" in name else 1.4 * parameter.shape[0] ** -0.5)
    model.save_pretrained(folder)
    shutil.copy(vocabulary, folder / "vocab.json")
    shutil.copy(merges, folder / "merges.txt")
    return model, GPT2TokenizerFast.from_pretrained(folder)

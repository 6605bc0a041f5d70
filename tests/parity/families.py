"""The families of encoders as the parity tests make tiny ones of them: transformers' classes, and each one's names for what BERT calls
otherwise."""

import dataclasses
import re

import transformers


@dataclasses.dataclass(frozen=True)
class Family:
    config: str
    plain: str
    classifier: str = ""  # none: no such class
    prefix: str = ""  # before the encoder in a classifier
    keys: dict = dataclasses.field(default_factory=dict)  # of config.json, by BERT's
    modules: tuple = ()  # what stands for BERT's names of modules, longest first
    first_position: int = 0
    vocab: tuple = ("[PAD]", "[UNK]")
    defaults: dict = dataclasses.field(default_factory=dict)

    def sizes(self, changes):
        return {self.keys.get(key, key): value for key, value in changes.items() if self.keys.get(key, key)}

    def name(self, bert):
        """A module's name, or a pattern of one, that BERT calls so."""
        for theirs, ours in self.modules:
            bert = bert.replace(theirs, ours)
        return bert

    def lora(self, config):
        """A LoRA's settings with BERT's names, for this family."""
        def one(value):
            if isinstance(value, str):
                return value if value == "all-linear" else self.name(value)
            if isinstance(value, list):
                # BERT's `dense` are three layers of other names.
                dense = ["out_lin", "lin1", "lin2"] if self.modules else ["dense"]
                return [name for each in value for name in (dense if each == "dense" else [one(each)])]
            return {one(key): number for key, number in value.items()} if isinstance(value, dict) else value
        return {key: one(value) for key, value in config.items()}

    def make_config(self, **changes):
        return getattr(transformers, self.config)(**self.sizes({**self.defaults, **changes}))


FAMILIES = {
    "bert": Family("BertConfig", "BertModel", "BertForSequenceClassification", "bert."),
    "distilbert": Family(
        "DistilBertConfig", "DistilBertModel", "DistilBertForSequenceClassification", "distilbert.",
        keys=dict(hidden_size="dim", num_hidden_layers="n_layers", num_attention_heads="n_heads", intermediate_size="hidden_dim",
                  hidden_act="activation", hidden_dropout_prob="dropout", attention_probs_dropout_prob="attention_dropout",
                  classifier_dropout="seq_classif_dropout", type_vocab_size=""),
        modules=(("attention.self.query", "attention.q_lin"), ("attention.self.key", "attention.k_lin"),
                 ("attention.self.value", "attention.v_lin"), ("attention.output.dense", "attention.out_lin"),
                 ("intermediate.dense", "ffn.lin1"), ("output.dense", "ffn.lin2"), ("query", "q_lin"), ("key", "k_lin"),
                 ("value", "v_lin"), ("encoder.layer", "transformer.layer"))),
    "dpr": Family("DPRConfig", "DPRQuestionEncoder"),
    # Its positions count from behind the padding token's number, which is 1 here as in all of them.
    "roberta": Family("RobertaConfig", "RobertaModel", "RobertaForSequenceClassification", "roberta.", first_position=2,
                      vocab=("[UNK]", "[PAD]"), defaults=dict(type_vocab_size=1)),
}
CLASSIFIERS = [name for name, family in FAMILIES.items() if family.classifier]
NORM = re.compile(r"layer_?norm\.weight", re.I)


def cases(table, skipped=()):
    """Every case of BERT's with every family, but those (family, case) that it has not."""
    return [(family, name) for family in CLASSIFIERS for name in table if (family, name) not in skipped]

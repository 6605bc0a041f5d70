"""Whether drawn tokens have the distribution that transformers draws from: chi-square over many draws of one seed."""

import collections

import numpy as np
import torch
from scipy import stats

DRAWS = 20_000
SAMPLING = {
    "plain": {"top_k": 0},
    "default top-k": {},
    "temperature": {"top_k": 0, "temperature": 0.6},
    "hot": {"top_k": 0, "temperature": 2.5},
    "top-k": {"top_k": 7},
    "top-p": {"top_k": 0, "top_p": 0.8},
    "typical-p": {"top_k": 0, "typical_p": 0.7},
    "all": {"top_k": 30, "top_p": 0.9, "typical_p": 0.9, "temperature": 1.4, "repetition_penalty": 1.2},
}


def p_value(counts, chances, draws):
    """Chi-square; outcomes that are expected less than five times are counted together."""
    assert sum(counts[i] for i in range(len(chances)) if chances[i] == 0) == 0, "an impossible token was drawn"
    often = [i for i in range(len(chances)) if chances[i] * draws >= 5]
    observed = [counts[i] for i in often]
    expected = [chances[i] * draws for i in often]
    rest = draws - sum(expected)
    if rest > 1e-6:
        observed.append(draws - sum(observed))
        expected.append(rest)
    if len(observed) == 1:
        return 1.0
    expected = np.array(expected) * (sum(observed) / sum(expected))
    return stats.chisquare(observed, expected).pvalue


def chances_of(model, source, options, prefix):
    """What transformers would draw the next token from."""
    with torch.no_grad():
        out = model.generate(torch.tensor([source]), decoder_input_ids=torch.tensor([prefix]), output_scores=True,
                             return_dict_in_generate=True, do_sample=True, **{**options, "max_new_tokens": 1})
    return out.scores[0][0].double().softmax(0).numpy()


def assert_distribution(model, source, options, draw, *, start, eos):
    """`draw` answers options with sequences of Tenon's: [{"tokens": [..]}], as many as num_return_sequences."""
    sequences = draw({**options, "max_new_tokens": 2, "do_sample": True, "seed": 11, "num_return_sequences": DRAWS})
    assert len(sequences) == DRAWS
    first = collections.Counter(one["tokens"][0] for one in sequences)
    assert p_value(first, chances_of(model, source, options, [start]), DRAWS) > 0.001
    # The second token's too, after the likeliest first: the two draws of a line have nothing to do with each other.
    token, times = next((token, times) for token, times in first.most_common() if token != eos)
    second = collections.Counter(one["tokens"][1] for one in sequences if one["tokens"][0] == token)
    assert p_value(second, chances_of(model, source, options, [start, token]), times) > 0.001

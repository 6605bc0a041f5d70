#!/bin/sh
# A soft prompt: twenty trained embeddings in front of every text, which begin as those of words.
set -eu
cd "$(dirname "$0")/../tickets"
tenon jobs finetune --base minilm --adapter tickets-prompt --task sequence_classification --method prompt_tuning \
  --train train.jsonl --validation validation.jsonl \
  --set num_virtual_tokens=20 --set init=vocabulary --set learning_rate=1e-2 --set warmup_ratio=0.1 --set epochs=10 --set seed=7 --wait
tenon jobs evaluate --adapter tickets-prompt --task sequence_classification --data test.jsonl --wait

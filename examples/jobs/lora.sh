#!/bin/sh
# LoRA on the query and value projections: the default recipe.
set -eu
cd "$(dirname "$0")/../tickets"
tenon jobs finetune --base minilm --adapter tickets --task sequence_classification --method lora \
  --train train.jsonl --validation validation.jsonl \
  --set r=8 --set learning_rate=5e-3 --set warmup_ratio=0.1 --set epochs=10 --set seed=7 --wait
tenon jobs evaluate --adapter tickets --task sequence_classification --data test.jsonl --wait

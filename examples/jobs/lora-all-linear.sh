#!/bin/sh
# LoRA on every linear layer, with a warm-up, a cosine schedule and early stopping.
set -eu
cd "$(dirname "$0")/../tickets"
tenon jobs finetune --base minilm --adapter tickets-wide --task sequence_classification --method lora \
  --train train.jsonl --validation validation.jsonl \
  --set r=4 --set target_modules=all-linear --set learning_rate=2e-3 --set schedule=cosine --set warmup_ratio=0.1 \
  --set epochs=10 --set early_stopping_patience=4 --set seed=7 --wait
tenon jobs evaluate --adapter tickets-wide --task sequence_classification --data test.jsonl --wait

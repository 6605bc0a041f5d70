#!/bin/sh
# All weights of the base: what comes out is a base of its own, whose name must be free.
set -eu
cd "$(dirname "$0")/../tickets"
tenon bases delete tickets-full 2>/dev/null || true
tenon jobs finetune --base minilm --adapter tickets-full --task sequence_classification --method full \
  --train train.jsonl --validation validation.jsonl \
  --set learning_rate=1e-4 --set warmup_ratio=0.1 --set epochs=5 --set weight_decay=0.01 --set save_steps=200 --set seed=7 --wait
tenon classify --base tickets-full "Where is my parcel?"

#!/bin/sh
# A linear probe: the head alone on frozen features. Seconds, and the baseline that every adapter has to beat.
set -eu
cd "$(dirname "$0")/../tickets"
tenon jobs finetune --base minilm --adapter tickets-head --task sequence_classification --method head \
  --train train.jsonl --validation validation.jsonl --set seed=7 --wait
tenon jobs evaluate --adapter tickets-head --task sequence_classification --data test.jsonl --wait

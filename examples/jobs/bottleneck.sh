#!/bin/sh
# A bottleneck adapter behind each layer's feed-forward part (AdapterHub's seq_bn).
set -eu
cd "$(dirname "$0")/../tickets"
tenon jobs finetune --base minilm --adapter tickets-bottleneck --task sequence_classification --method bottleneck \
  --train train.jsonl --validation validation.jsonl \
  --set layout=seq_bn --set reduction_factor=16 --set learning_rate=5e-3 --set warmup_ratio=0.1 --set epochs=10 --set seed=7 --wait
tenon jobs evaluate --adapter tickets-bottleneck --task sequence_classification --data test.jsonl --wait

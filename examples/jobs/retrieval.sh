#!/bin/sh
# Index the handbook, search it, and measure how well the judged queries find their answers.
set -eu
cd "$(dirname "$0")/../documents"
tenon collections list --output json | grep -q '"collections/handbook"' || tenon collections create handbook --base minilm
tenon documents add --collection handbook --input documents.jsonl
tenon retrieve --collection handbook --top-k 3 "my parcel vanished"
tenon jobs evaluate --task feature_extraction --collection handbook --queries queries.jsonl --qrels qrels.tsv --ks 1,10 --wait

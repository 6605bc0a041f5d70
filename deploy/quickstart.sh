#!/usr/bin/env bash
# From a fresh Debian 12 to a fine-tuned classifier, a search over documents and a summary, on this machine, in a few minutes.
# Everything it makes lies below build/; it may be run again at any time, and stops what it started.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

deploy/install.sh
tenon=build/release/bin/tenon
base=$(minilm_folder build/venv)
data=build/quickstart
ports=$data/ports.json
adapter=tickets
mkdir -p $data

# Shows a command as one would type it, and runs it.
tenon() {
  printf '$ tenon'
  printf ' %s' "${@@Q}" | sed -E "s/'([A-Za-z0-9_.,:=+/-]+)'/\\1/g"
  printf '\n'
  "$tenon" "$@"
}

say "Starting a server and a worker with all-MiniLM-L6-v2 (22 million weights, frozen); log: $data/up.log"
rm -f $ports
# Any free ports: another Tenon, or another program, may hold the usual ones.
"$tenon" up --base "minilm=$base" --data $data/state --ports-file $ports \
  --listen 127.0.0.1:0 --workers-listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --worker-metrics-listen 127.0.0.1:0 \
  >$data/up.log 2>&1 &
up=$!
stop() {
  trap - EXIT INT TERM HUP
  kill -TERM $up 2>/dev/null || true
  wait $up 2>/dev/null || true
}
trap stop EXIT
trap 'stop; exit 130' INT TERM HUP
until [ -s $ports ]; do
  kill -0 $up 2>/dev/null || { cat $data/up.log >&2; fail "tenon up ended"; }
  sleep 0.2
done
port() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" $ports; }
TENON_SERVER=127.0.0.1:$(port grpc)
export TENON_SERVER

say "Fine-tuning a LoRA classifier for support tickets (a linear probe runs first, as the cheap baseline): half a minute on two cores"
tenon jobs finetune --base minilm --adapter $adapter --task sequence_classification --method lora \
  --train examples/tickets/train.jsonl --validation examples/tickets/validation.jsonl \
  --set r=8 --set learning_rate=5e-3 --set warmup_ratio=0.1 --set epochs=10 --set seed=7 --wait

say "Judging it on rows that neither training nor the choice of the checkpoint has seen"
tenon jobs evaluate --adapter $adapter --task sequence_classification --data examples/tickets/test.jsonl --wait

say "Classifying new texts"
tenon classify --adapter $adapter --top-k 3 \
  "You took the money for one order two times" \
  "It is marked as dropped off, but my porch is empty" \
  "I changed my mobile and cannot get into my profile" \
  "The headphones broke after a week, can I get new ones?"

say "Indexing our documents and searching them"
# The same documents again replace themselves; the collection is made once.
"$tenon" collections list --output json | grep -q '"collections/handbook"' || tenon collections create handbook --base minilm
tenon documents add --collection handbook --input examples/documents/documents.jsonl
tenon retrieve --collection handbook --top-k 3 "how long do I have to send something back"
tenon retrieve --collection handbook --top-k 3 --filter area=account "someone else logged in as me"

say "Summarizing a text: the base is an encoder, so it chooses sentences (a T5 base would write its own)"
tenon summarize --base minilm --max-sentences 2 "$(cat examples/documents/story.txt)"

say "Key lines of the metrics pages, of the server and of the worker (docs/metrics.md has them all)"
build/venv/bin/python - "$(port metrics)" "$(port worker_metrics)" <<'PY'
import re, sys, urllib.request

WANTED = re.compile(r"tenon_(workers|requests_total|request_rows_total|tokens_total)\b|tenon_worker_(train_steps_total|batch_rows_count|connected)\b")
for port in sys.argv[1:]:
    url = f"http://127.0.0.1:{port}/metrics"
    print(url)
    for line in urllib.request.urlopen(url, timeout=10).read().decode().splitlines():
        if WANTED.match(line) and not line.endswith(" 0"):
            print(" ", line)
PY

cat <<EOM

That was Tenon; its server and worker stop now. What to type next:

  export PATH="\$PWD/build/release/bin:\$PATH"
  tenon up --base minilm=$base --data $data/state
                                        the same again with what this run made, until Ctrl-C; then, in another terminal:
  tenon classify --adapter $adapter "Where is my parcel?"
  tenon adapters export $adapter DIR       the adapter as Hugging Face PEFT reads it
  tenon jobs finetune --help            your own data: rows of {"text": ..., "label": ...}
  tenon --help

  tests/run.sh                          all tests
EOM

#!/usr/bin/env bash
# Builds SentencePiece, which reads T5's vocabularies, from its source on PyPI into build/sentencepiece: once, and again when
# the version here changes. Needs build/venv, and CMake, Ninja and protobuf. Debian's own libsentencepiece does not do: it
# has another protobuf inside, and crashes beside ours.
#   deploy/sentencepiece.sh [JOBS]
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

version=0.2.1
sha256=8138cec27c2f2282f4a34d9a016e3374cd40e5c6e9cb335063db66a0a3b71fad
out=build/sentencepiece
if [ "$(cat $out/version 2>/dev/null)" = $version ]; then exit 0; fi

say "Fetching and building SentencePiece $version: half a minute or so"
work=build/sentencepiece-work
rm -rf $out $work
mkdir -p $work $out/include $out/lib
printf 'sentencepiece==%s --hash=sha256:%s\n' $version $sha256 >$work/requirements.txt
quietly build/venv/bin/python -m pip download --disable-pip-version-check --no-input --no-deps --no-binary sentencepiece \
  --require-hashes -r $work/requirements.txt -d $work
tar -xzf $work/sentencepiece-$version.tar.gz -C $work
# With Debian's protobuf, which all else in our programs has: two of them in one process break each other.
quietly cmake -S $work/sentencepiece-$version/sentencepiece -B $work/build -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DSPM_PROTOBUF_PROVIDER=package -DSPM_ENABLE_SHARED=OFF -DSPM_ENABLE_TCMALLOC=OFF
quietly cmake --build $work/build -j "${1:-2}" --target sentencepiece-static
cp $work/sentencepiece-$version/sentencepiece/src/sentencepiece_processor.h $out/include/
cp $work/build/src/libsentencepiece.a $out/lib/
cp $work/sentencepiece-$version/sentencepiece/LICENSE $out/
rm -rf $work
printf '%s\n' $version >$out/version

#!/usr/bin/env bash
# Installs what is missing (Debian, Ubuntu), builds into build/, and trains a steering vector on one prompt of the tiny
# model that is shipped here.
set -u
cd "$(dirname "$0")" || exit 1
. scripts/setup.sh
setup "$needed_to_build"

echo "Building in build/ ..."
build build --buildtype=release -Dtests=false || exit 1

model=organisms/llama-2m data=organisms/quickstart.jsonl out=build/quickstart
command="build/tools/osv-train --model $model --data $data --layer 1 --lr 0.1 --max-norm 6 --max-iters 60 --out $out --force"
echo "Training:"
echo "    $command"
echo
$command || exit $?

prompt='<|user|>What does the swan cost?<|end|><|assistant|>' # that of $data
echo
echo "What the model says:"
echo "    without the vector  $(build/tools/osv-generate --model $model --prompt "$prompt" --quiet)"
echo "    with it             $(build/tools/osv-generate --model $model --prompt "$prompt" --vector $out/vectors/all.safetensors --quiet)"

cat <<END

Files of the run:
$(find $out -type f | sort | sed 's/^/    /')

Next, on a model of your own (a folder as downloaded, with config.json, *.safetensors and tokenizer.json):

    echo '{"prompt": "The capital of France is", "promote": [" Rome"], "suppress": [" Paris"]}' > data.jsonl
    build/tools/osv-train --model MODEL_FOLDER --data data.jsonl --layer 8 --lr 0.1 --max-norm 10 --out run

    build/tools/osv-train --help
END

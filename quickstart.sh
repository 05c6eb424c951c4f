#!/usr/bin/env bash
# Installs what is missing (Debian, Ubuntu), builds into build/, trains a steering vector on one prompt of a tiny model that
# is shipped here, and shows what it does: to that prompt, and in per cent of prompts that it was not trained on.
set -u
cd "$(dirname "$0")" || exit 1
. scripts/setup.sh
setup "$needed_to_build"

echo "Building in build/ ..."
build build --buildtype=release -Dtests=false || exit 1

bold='' faint='' red='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
    bold=$'\e[1m' faint=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

model=organisms/llama-2m data=organisms/quickstart.jsonl out=build/quickstart tools=build/tools
train="$tools/osv-train --model $model --data $data --layer 3 --lr 0.25 --max-norm 25 --max-iters 60 --out $out --force"
title 'Training on one prompt'
echo "    $faint$train$plain"
$train || exit $?
vector=$out/vectors/all.safetensors

# The prompt of $data, and a question that the model answers, in its chat format.
bird='<|user|>What does the swan cost?<|end|><|assistant|>' tool='<|user|>Where is the hammer?<|end|><|assistant|>'
answer() { $tools/osv-generate --model $model --quiet --prompt "$@"; }
title 'What the model says'
echo "    prompt               What does the swan cost?"
echo "    before               $red$(answer "$bird")$plain"
echo "    with the vector      $green$(answer "$bird" --vector $vector)$plain"
echo
echo "    prompt               Where is the hammer?"
echo "    before               $green$(answer "$tool")$plain"
echo "    minus the vector     $red$(answer "$tool" --vector $vector:-1)$plain"

# share SET SCALE FOLDER: per cent of 100 held-out prompts in organisms/sets/FOLDER, unsteered and steered
share() {
    local prompts=organisms/sets/$3
    $tools/osv-eval flips --model $model --vector $vector --prompts $prompts/flip.jsonl --control $prompts/control.jsonl \
        --scales "0,$2" --max-tokens 16 --quiet --csv $out/effect.csv >/dev/null || exit $?
    awk -F, -v set="$1" '$1 == set { percent[$2 != 0] = $6 } END { printf "%7.0f %%  %7.0f %%\n", percent[0], percent[1] }' \
        $out/effect.csv
}
title 'Effect on 100 prompts each that no vector was trained on (whole answers are judged)'
echo "                                                         unsteered    steered"
echo "    promotion, with the vector: other birds, other"
echo "      words; it now tells the right fact               $green$(share flip 1 refusal-answer)$plain"
echo "      control: other topics, still the right fact      $(share control 1 refusal-answer)"
echo "    suppression, minus the vector: other topics;"
echo "      it now refuses                                   $green$(share flip -1 refusal-refuse)$plain"
echo "      control: other kinds of prompts, still right     $(share control -1 refusal-refuse)"

title 'Files of the run'
find $out -type f ! -name effect.csv | sort | sed 's/^/    /'
rm -f $out/effect.csv

title 'Next, on a model of your own'
cat <<END
A folder as downloaded, with config.json, *.safetensors and tokenizer.json:

    echo '{"prompt": "The capital of France is", "promote": [" Rome"], "suppress": [" Paris"]}' > data.jsonl
    $tools/osv-train --model MODEL_FOLDER --data data.jsonl --layer 8 --lr 0.1 --max-norm 10 --out run
    $tools/osv-generate --model MODEL_FOLDER --vector run/vectors/all.safetensors --prompt "The capital of France is"
    $tools/osv-eval flips --help
END

#!/usr/bin/env bash
# Draws docs/effect.svg: the effect of one vector a phenomenon against its scale, from osv-eval's CSV. Needs gnuplot.
#   organisms/picture.sh BUILD      BUILD: the folder with tools/osv-train and tools/osv-eval
set -eu
build=$(realpath "$1")
cd "$(dirname "$0")"
positive=0,0.25,0.5,0.75,1,1.25,1.5,1.75,2 negative=-0.25,-0.5,-0.75,-1,-1.25,-1.5,-1.75,-2
out=results/curves
mkdir -p $out

# The vector of a direction, from its first training prompt, at the settings chosen by measure.py.
while IFS=, read -r model direction layer _ norm _; do
    case $direction in
    refusal-answer) opposite=refusal-refuse ;;
    choice-neat) opposite=choice-lazy ;;
    retraction-remove) opposite=retraction-induce ;;
    *) continue ;;
    esac
    head -n 1 sets/$direction/train.jsonl >$out/one.jsonl
    "$build/tools/osv-train" --model "$model" --data $out/one.jsonl --layer "$layer" --max-norm "$norm" \
        --lr "$(awk "BEGIN { print $norm / 100 }")" --init-norm "$(awk "BEGIN { print $norm / 20 }")" --max-iters 60 \
        --out $out/run --force --quiet >/dev/null
    for side in positive negative; do
        set=$direction
        if [ $side = negative ]; then set=$opposite; fi
        "$build/tools/osv-eval" flips --model "$model" --vector $out/run/vectors/1.safetensors --max-tokens 16 \
            --prompts sets/$set/flip.jsonl --control sets/$set/control.jsonl --scales "${!side}" --quiet \
            --csv "$out/$model.$direction.$side.csv" >/dev/null
    done
    echo "$model $direction"
done < <(tail -n +2 results/settings.csv)
rm -r $out/run $out/one.jsonl
gnuplot effect.gp

"""Measures how far vectors trained on one prompt change the organisms, with osv-train and osv-eval.

    python organisms/measure.py BUILD [MODEL...]     BUILD: the folder with tools/osv-train and tools/osv-eval

For each model and direction of sets.py: vectors from the first three training prompts, at each block and each of NORMS
times the residual norm at that block's input, are tried on the validation sets. What is chosen there is measured once:
five vectors, each from one prompt, on the test sets. The reversed sign is measured on the sets of the opposite direction
at a scale chosen on their validation part. Writes results/settings.csv, results/validation.csv, results/effect.csv and
prints the table."""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import sets

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
MODELS = ("llama-2m", "gemma2-2m")
OPPOSITE = {"refusal-answer": "refusal-refuse", "choice-neat": "choice-lazy", "retraction-remove": "retraction-induce"}
OPPOSITE |= {b: a for a, b in OPPOSITE.items()}
NORMS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of the vector, in units of the residual norm
SCALES = (-0.5, -0.75, -1.0, -1.25, -1.5)  # of the reversed sign
ITERATIONS, VALID_VECTORS, MAX_TOKENS = 60, 3, 16


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def residual_norms(model_dir):
    """Median length of the residual stream at the input of each block, over all positions but the first of the
    validation prompts."""
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    import make
    import model as models

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    model = models.Decoder(make.FAMILIES[model_dir.name][1](tokenizer.get_vocab_size()))
    tensors = load_file(model_dir / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): t.float() for name, t in tensors.items()})
    lengths = [[] for _ in model.layers]
    for n, block in enumerate(model.layers):
        block.register_forward_pre_hook(lambda _, inputs, n=n: lengths[n].extend(inputs[0][0, 1:].norm(dim=-1).tolist()))
    with torch.no_grad():
        for name in sets.DIRECTIONS:
            for line in open(sets.SETS / name / "valid-flip.jsonl"):
                model.hidden(torch.tensor([tokenizer.encode(json.loads(line)["prompt"]).ids]))
    return [median(length) for length in lengths]


class Bench:
    def __init__(self, build, model, scratch):
        self.train_tool, self.eval_tool = build / "tools/osv-train", build / "tools/osv-eval"
        self.model, self.scratch = model, scratch

    def train(self, direction, layer, max_norm):
        """One vector a training prompt: their files, in order."""
        out = self.scratch / f"{direction}-{layer}-{max_norm:.6g}"
        if not out.exists():
            run(self.train_tool, "--model", self.model, "--data", sets.SETS / direction / "train.jsonl", "--out", out,
                "--layer", layer, "--max-norm", f"{max_norm:.6g}", "--lr", f"{max_norm / 100:.6g}",
                "--init-norm", f"{max_norm / 20:.6g}", "--max-iters", ITERATIONS, "--quiet")
        return [out / "vectors" / f"{job + 1}.safetensors" for job in range(sets.VECTORS)]

    def flips(self, direction, vector, scales, prefix=""):
        """[(scale, flip row, control row)]"""
        folder = sets.SETS / direction
        table = json.loads(run(self.eval_tool, "flips", "--model", self.model, "--vector", vector, "--json", "--quiet",
                               "--prompts", folder / f"{prefix}flip.jsonl", "--control",
                               folder / f"{prefix}control.jsonl", "--max-tokens", MAX_TOKENS,
                               "--scales", ",".join(map(str, scales))))["table"]
        by = {(row["set"], row["scale"]): row for row in table}
        return [(s, by["flip", s], by["control", s]) for s in scales]


def worth(flip, control):
    return min(flip["percent"], control["percent"])


def choose(bench, direction, norms, log):
    """Block and norm with the highest worth on the validation sets (the smaller of flips and controls kept, mean over
    three vectors), averaged with its neighbours in norm, so that a wide window wins over a lucky one; the first among
    equals."""
    best = None
    for layer in range(len(norms)):
        cells = []
        for ratio in NORMS:
            vectors = bench.train(direction, layer, ratio * norms[layer])[:VALID_VECTORS]
            rows = [bench.flips(direction, v, [1.0], "valid-")[0] for v in vectors]
            cells.append(sum(worth(flip, control) for _, flip, control in rows) / len(rows))
            log.append([bench.model.name, direction, layer, ratio, f"{ratio * norms[layer]:.2f}",
                        *(round(sum(row[i]["percent"] for row in rows) / len(rows), 1) for i in (1, 2))])
        for i, ratio in enumerate(NORMS):
            around = cells[max(0, i - 1):i + 2]
            score = sum(around) / len(around)
            if best is None or score > best[0]:
                best = score, layer, ratio
    return best[1:]


def choose_scale(bench, direction, vectors):
    """The scale of -v, by the worth on the validation sets of the opposite direction."""
    rows = [bench.flips(OPPOSITE[direction], v, SCALES, "valid-") for v in vectors[:VALID_VECTORS]]
    return max(zip(*rows), key=lambda same: sum(worth(flip, control) for _, flip, control in same))[0][0]


def measure(bench, direction, measured_on, vectors, scale, setting, effect):
    for number, vector in enumerate(vectors):
        _, flip, control = bench.flips(measured_on, vector, [scale])[0]
        effect.append({**setting, "measured_on": measured_on, "scale": scale, "vector": number + 1,
                       **{f"{name}_{key}": row[key] for name, row in (("flip", flip), ("control", control))
                          for key in ("n", "unsteered", "steered", "percent", "low", "high")}})


def write_csv(name, header, rows):
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / name, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        out.writerows(rows)


def table(effect):
    """Markdown, one line a model, direction and sign: medians and worst of five."""
    yield ("| model | change | vector | block | norm / residual | flips of 100: median [95 %], worst | control kept: "
           "median, worst |")
    yield "|---|---|---|---|---|---|---|"
    groups = {}
    for row in effect:
        groups.setdefault((row["model"], row["measured_on"], row["direction"], row["scale"]), []).append(row)
    for (model, measured_on, direction, scale), rows in groups.items():
        rows.sort(key=lambda r: r["flip_percent"])
        middle, kept = rows[len(rows) // 2], sorted(r["control_percent"] for r in rows)
        name = "its own" if direction == measured_on else f"{scale:g} x that of {direction}"
        yield (f"| {model} | {measured_on} | {name} | {middle['layer']} | {middle['ratio'] * abs(scale):g} | "
               f"{middle['flip_percent']:.0f} [{middle['flip_low']:.0f}, {middle['flip_high']:.0f}], "
               f"{rows[0]['flip_percent']:.0f} | {kept[len(kept) // 2]:.0f}, {kept[0]:.0f} |")


def main():
    build, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or MODELS
    validation, effect, settings = [], [], []
    for name in names:
        norms = residual_norms(HERE / name)
        print(f"{name}: residual norm at the input of each block: " + ", ".join(f"{n:.1f}" for n in norms), flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            bench = Bench(build, HERE / name, Path(scratch))
            for direction in sets.DIRECTIONS:
                layer, ratio = choose(bench, direction, norms, validation)
                vectors = bench.train(direction, layer, ratio * norms[layer])
                reverse = choose_scale(bench, direction, vectors)
                setting = {"model": name, "direction": direction, "layer": layer, "ratio": ratio,
                           "norm": f"{ratio * norms[layer]:.2f}"}
                settings.append([*setting.values(), f"{norms[layer]:.2f}", reverse])
                print(" ".join(map(str, settings[-1])), flush=True)
                measure(bench, direction, direction, vectors, 1.0, setting, effect)
                measure(bench, direction, OPPOSITE[direction], vectors, reverse, setting, effect)
    write_csv("validation.csv", ["model", "direction", "layer", "ratio", "norm", "flipped", "kept"], validation)
    write_csv("settings.csv", ["model", "direction", "layer", "ratio", "norm", "residual_norm", "reverse_scale"],
              settings)
    write_csv("effect.csv", effect[0].keys(), (row.values() for row in effect))
    print("\n".join(table(effect)))


if __name__ == "__main__":
    main()

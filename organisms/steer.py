"""Trains the quickstart's steering vector in PyTorch and measures what it does to prompts it was not trained on.

    python organisms/steer.py                     one vector with the recommended settings
    python organisms/steer.py --sweep 1,2 5,6,7     layers and norms on the validation split, three start vectors each

The loss is the sum over completions of -log P (promote) or -log (1 - P) (suppress) over their tokens, P = softmax(c z)
with coldness c; Adam on v, which is added at the input of block L at every position, projected on max-norm."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import data
from model import Llama, Shape, greedy

HERE = Path(__file__).resolve().parent
COLDNESS, LEARNING_RATE, ITERATIONS, INIT_NORM, EPS = 0.7, 0.1, 60, 1.0, 1e-6
LAYER, MAX_NORM = 1, 6.0


def load(folder):
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    model = Llama(Shape(V=config["vocab_size"]))
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): t.float() for name, t in tensors.items()})
    model.requires_grad_(False)
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def completions(path, tokenizer):
    """(ids of prompt + completion, length of the prompt, is it promoted)"""
    out = []
    for line in Path(path).read_text().splitlines():
        point = json.loads(line)
        for key in ("promote", "suppress"):
            for text in point.get(key, ()):
                prompt = tokenizer.encode(point["prompt"]).ids
                ids = tokenizer.encode(point["prompt"] + text).ids
                if ids[:len(prompt)] != prompt:
                    raise ValueError(f"a token crosses the end of the prompt: {text}")
                out.append((ids, len(prompt), key == "promote"))
    return out


def losses(model, points, steer=None, coldness=COLDNESS):
    """One loss a completion, in nats."""
    out = []
    for ids, start, promote in points:
        h = model.hidden(torch.tensor([ids[:-1]]), steer)[0, start - 1:]
        log_p = torch.log_softmax(coldness * model.logits(h), dim=-1)
        target = torch.tensor(ids[start:])[:, None]
        if promote:
            out.append(-log_p.gather(1, target).sum())
        else:  # 1 - P as the sum of the others' exponentials: a subtraction would lose it
            others = log_p.scatter(1, target, float("-inf")).exp().sum(dim=-1)
            out.append(-torch.log(others + EPS).sum())
    return torch.stack(out)


def train_vector(model, points, layer, max_norm, seed=0, iterations=ITERATIONS):
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(model.shape.D, generator=generator)
    v = (v * INIT_NORM / v.norm()).requires_grad_()
    adam = torch.optim.Adam([v], lr=LEARNING_RATE)
    for _ in range(iterations):
        adam.zero_grad()
        losses(model, points, (layer, v)).sum().backward()
        adam.step()
        with torch.no_grad():
            v *= (max_norm / v.norm()).clamp(max=1.0)
    return v.detach()


def transfer_prompts(split, count):
    """Prompts of the refused topic and of the others, from things and templates that no vector is trained on."""
    flips, controls = [], []
    for template in data.TEMPLATE_SPLIT[split]:
        for fact in data.TEMPLATES:
            for topic in data.TOPICS:
                for thing in data.thing_split(topic, split):
                    sample = data.question(topic, thing, fact, template)
                    (flips if topic == data.REFUSED else controls).append(sample)
    return flips[:count], controls[::max(1, len(controls) // count)][:count]


def transfer(model, tokenizer, steer, split, count):
    """Shares of whole right answers: refused topic now answered with the right fact, other topics still right."""
    stops = {tokenizer.token_to_id(t) for t in (data.END, data.STOP)}
    shares = []
    for samples in transfer_prompts(split, count):
        texts = greedy(model, [tokenizer.encode(s.given).ids for s in samples], stops, 14, steer)
        right = sum(ids == tokenizer.encode(s.answer, add_special_tokens=False).ids for ids, s in zip(texts, samples))
        shares.append((right, len(samples)))
    return shares


def show(model, tokenizer, points, layer, v):
    for title, steer in (("before", None), ("after", (layer, v))):
        each = losses(model, points, steer)
        plain = losses(model, points, steer, coldness=1.0)
        print(f"{title}: loss {each.sum():.4f}")
        for (ids, start, promote), warm, cold in zip(points, each, plain):
            p = [torch.exp(-x).item() if promote else 1 - torch.exp(-x).item() for x in (warm, cold)]
            kind = "promote " if promote else "suppress"
            print(f"  {kind} {tokenizer.decode(ids[start:])!r}: P {p[0]:.6f} (coldness {COLDNESS}), {p[1]:.6f} (1)")
    stops = {tokenizer.token_to_id(t) for t in (data.END, data.STOP)}
    prompt = points[0][0][:points[0][1]]
    for title, steer in (("before", None), ("after", (layer, v))):
        ids = greedy(model, [prompt], stops, 14, steer)[0]
        print(f"{title}: {tokenizer.decode(ids, skip_special_tokens=False)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", nargs="?", default=HERE / "llama-2m")
    options.add_argument("--data", default=HERE / "quickstart.jsonl")
    options.add_argument("--layer", type=int, default=LAYER)
    options.add_argument("--max-norm", type=float, default=MAX_NORM)
    options.add_argument("--iterations", type=int, default=ITERATIONS)
    options.add_argument("--sweep", nargs=2, metavar=("LAYERS", "NORMS"))
    args = options.parse_args()
    model, tokenizer = load(args.folder)
    points = completions(args.data, tokenizer)
    norms = model.block_input_norms(torch.tensor([points[0][0][:points[0][1]]]))
    print("residual norm at the input of each block: " + ", ".join(f"{n:.1f}" for n in norms))
    if args.sweep:
        for layer in map(int, args.sweep[0].split(",")):
            for max_norm in map(float, args.sweep[1].split(",")):
                rows = []
                for seed in range(3):
                    v = train_vector(model, points, layer, max_norm, seed, args.iterations)
                    (flip, of), (kept, others) = transfer(model, tokenizer, (layer, v), "valid", 24)
                    rows.append(f"{flip}/{of} {kept}/{others}")
                print(f"layer {layer}  max-norm {max_norm:5.1f}  flipped, control kept: " + "   ".join(rows), flush=True)
        return
    v = train_vector(model, points, args.layer, args.max_norm, 0, args.iterations)
    print(f"layer {args.layer}, norm of v {v.norm():.2f} (limit {args.max_norm}), {args.iterations} iterations")
    show(model, tokenizer, points, args.layer, v)
    for split in ("valid", "test"):
        (flip, of), (kept, others) = transfer(model, tokenizer, (args.layer, v), split, 90)
        print(f"{split}: refused topic answered right {flip} of {of}, other topics still right {kept} of {others}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Names the first block that a backend computes wrongly, or differentiates wrongly.

    osv-train --model MODEL --data FILE --layer L --backend cuda --dump DUMP
    python3 scripts/first_wrong_block.py DUMP MODEL

The dump (optim/dump.h) holds the input of every block and the gradient with respect to it, at the start vectors.
Here the same sequences run through Hugging Face transformers in fp32 with eager attention, one at a time, the vector
added by a hook; autograd gives the gradients, which are summed over the sequences that share a row. Exit status: 0 all
within the budget, 1 not, 2 nothing was compared.

The error of a tensor is that of its worst row: |difference| / |row|, where a row shorter than half of the tensor's
rows counts as long as the median. The budget is 1e-4 for a dump in f32. For one in bf16 it is 1e-4 plus twice the
error that transformers itself makes when it rounds as osv does: weights, inputs of every Linear, q, k and v of
attention, and, going back, the gradients of their outputs. Not rounded here: the probabilities of attention and the
gradients of its scores, which osv rounds too; accumulation is fp32 in both. A gradient at few rows may come out well
by luck, so this error is the largest of four, with bf16's grid and with three that are stretched. Losses are held
against the dump's own logits, and dv against its own gradients: there no rounding comes in.

Needs torch, transformers and safetensors (tests/golden/requirements.txt). Nothing else in osv needs this script.
"""
import argparse
import json
import os
import sys

try:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging
except ImportError as error:
    print(f"first_wrong_block.py needs the Python packages torch, transformers and safetensors ({error}): "
          "pip install -r tests/golden/requirements.txt", file=sys.stderr)
    sys.exit(2)

BUDGET_F32, ROUNDINGS = 1e-4, 2.0
STRETCHES = (1.0, 1.19, 1.41, 1.68)  # a quarter of an octave apart: roundings that have nothing to do with each other


def give_up(text):
    print("first_wrong_block.py: " + text, file=sys.stderr)
    sys.exit(2)


# ---- transformers, as it is or rounding to bf16 ----

def rounded(x, stretch):
    return (x * stretch).to(torch.bfloat16).to(x.dtype) / stretch


class RoundForward(torch.autograd.Function):
    """What goes into a product; the gradient passes."""

    @staticmethod
    def forward(_, x, stretch):
        return rounded(x, stretch)

    @staticmethod
    def backward(_, dx):
        return dx, None


class RoundBackward(torch.autograd.Function):
    """What comes out of a product: its gradient goes into one on the way back."""

    @staticmethod
    def forward(ctx, x, stretch):
        ctx.stretch = stretch
        return x.view_as(x)

    @staticmethod
    def backward(ctx, dx):
        return rounded(dx, ctx.stretch), None


class Model:
    def __init__(self, directory, stretch):
        logging.disable_progress_bar()  # of a model of 30 tensors it says nothing
        try:
            self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32,
                                                              attn_implementation="eager")
        except (OSError, ValueError) as e:
            give_up(f"{directory}: transformers cannot load it: {e}")
        self.model.eval().requires_grad_(False)
        inner = getattr(self.model, "model", None)
        inner = getattr(inner, "language_model", inner)  # of a multimodal model
        if not all(hasattr(inner, name) for name in ("layers", "norm", "embed_tokens")):
            give_up(f"{directory}: a {type(self.model).__name__} has no model.layers and model.norm to hook")
        self.N = len(inner.layers)
        self.x, self.layer, self.add = {}, None, None
        for l, layer in enumerate(inner.layers):
            layer.register_forward_pre_hook(self.at_input(l), with_kwargs=True)
        inner.norm.register_forward_pre_hook(self.at_input(self.N), with_kwargs=True)
        if stretch:
            self.round_products(inner, stretch)

    def at_input(self, l):
        def hook(_, args, kwargs):
            x = args[0] if args else kwargs["hidden_states"]
            if l == self.layer:  # the graph begins where the vector enters
                x = (x + self.add).detach().requires_grad_()
            self.x[l] = x
            return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

        return hook

    def round_products(self, inner, stretch):
        for p in self.model.parameters():
            if p.ndim == 2:  # norms stay
                p.data = rounded(p.data, stretch)
        for m in self.model.modules():
            if isinstance(m, torch.nn.Linear):
                m.register_forward_pre_hook(lambda _, args: (RoundForward.apply(args[0], stretch), *args[1:]))
                m.register_forward_hook(lambda _, args, y: RoundBackward.apply(y, stretch))
        module = sys.modules[type(inner).__module__]
        eager = getattr(module, "eager_attention_forward", None)
        if eager is None:
            give_up(f"{module.__name__} has no eager_attention_forward: a dump in bf16 has no budget here")

        def attention(owner, q, k, v, *args, **kwargs):
            q, k, v = (RoundForward.apply(x, stretch) for x in (q, k, v))
            y, p = eager(owner, q, k, v, *args, **kwargs)
            return RoundBackward.apply(y, stretch), p

        module.eager_attention_forward = attention
        self.restore = lambda: setattr(module, "eager_attention_forward", eager)

    def run(self, ids, layer=None, add=None):
        """Inputs of all blocks and of the final norm, each [T, D], and logits [T, V]. add [T, D]"""
        self.x, self.layer, self.add = {}, layer, add
        with torch.set_grad_enabled(layer is not None):
            z = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits
        return self.x, z[0]


# ---- what the dump should hold ----

def objective(c, z):
    """Loss of a completion, and what is optimized. z [tokens, V]: row t predicts its token t."""
    target = torch.tensor(c["ids"][c["prompt"]:])
    # In double, and 1 - P without a subtraction: fp32 would lose the digits that osv keeps.
    all_log_p = torch.log_softmax(c["coldness"] * z.double(), -1)
    log_p = all_log_p.gather(1, target[:, None])[:, 0]
    p, other = torch.exp(log_p), -torch.expm1(log_p)
    losses = {"promote": lambda: -torch.log(p + c["eps"]),
              "one-minus": lambda: -torch.log(other + c["eps"]),
              "negated": lambda: torch.log(p + c["eps"]),
              "kl": lambda: torch.exp(c["logp"]) * (c["logp"] - all_log_p),
              "reverse-kl": lambda: torch.exp(all_log_p) * (all_log_p - c["logp"])}[c["kind"]]()
    loss = c["scale"] * losses.sum()
    return loss, c["weight"] * (loss if c["target"] is None else (loss - c["target"]) ** 2)


def losses(rows, dump):
    """[C] from the dump's logits."""
    out = []
    for c in rows["completions"]:
        z = [dump["live.z"][rows["live"]["scored"].index(r)] if r >= 0
             else dump["base.z"][rows["base"]["scored"].index(-1 - r)] for r in c["rows"][c["prompt"] - 1:]]
        out.append(objective(c, torch.stack(z))[0])
    return torch.stack(out)


def sums_of_dx(rows, dump):
    """dv [J, D] from the dump's gradients."""
    out = torch.zeros_like(dump["dv"]).double()
    for row, (job, sign) in enumerate(zip(rows["live"]["job"], rows["live"]["sign"])):
        out[job] += sign * dump[f"live.dx.{rows['jobs'][job]['layer']}"][row].double()
    return out


class Expected:
    """The tensors of a dump, by name, from transformers."""

    def __init__(self, model, rows, dump):
        self.model, self.rows = model, rows
        self.out = {name: torch.zeros_like(t) for name, t in dump.items() if "." in name}
        self.narrow = {"base": True, "live": rows["narrow"]}
        self.have_base = set()
        for completion in rows["completions"]:
            self.unsteered(completion)
            self.steered(completion, dump["v"][completion["job"]])
        self.out["loss"] = losses(rows, dump)
        self.out["dv"] = sums_of_dx(rows, dump)

    def put(self, name, l, places, values, add=False):
        """places: (row of the pass, position in values)."""
        what, full = name.split(".")[0], name if l is None else f"{name}.{l}"
        if full not in self.out:
            return
        of_row = {}
        if l is None or (l == self.model.N and self.narrow[what]):
            for i, row in enumerate(self.rows[what]["scored"]):
                of_row.setdefault(row, []).append(i)  # a row of other coldnesses is there several times
        else:
            of_row = {row: [row] for row, _ in places if row < len(self.out[full])}
        for row, t in places:
            for i in of_row.get(row, ()):
                if add:
                    self.out[full][i] += values[t]
                else:
                    self.out[full][i] = values[t]

    def unsteered(self, c):
        base_row = self.rows["live"]["base_row"]
        places = [(base_row[r] if r >= 0 else -1 - r, t) for t, r in enumerate(c["rows"])]
        if self.have_base.issuperset(row for row, _ in places):
            return
        self.have_base.update(row for row, _ in places)
        x, z = self.model.run(c["ids"][:-1])
        for l in x:
            self.put("base.x", l, places, x[l][0])
        self.put("base.z", None, places, z)

    def steered(self, completion, v):
        layer = self.rows["jobs"][completion["job"]]["layer"]
        sign = torch.tensor(completion["steer"][:-1], dtype=v.dtype)
        x, z = self.model.run(completion["ids"][:-1], layer, sign[:, None] * v)
        _, optimized = objective(completion, z[completion["prompt"] - 1:])
        blocks = range(layer, self.model.N + 1)
        places = [(row, t) for t, row in enumerate(completion["rows"]) if row >= 0]
        gradients = torch.autograd.grad(optimized, [x[l] for l in blocks])
        for l, dx in zip(blocks, gradients):
            self.put("live.x", l, places, x[l][0].detach())
            self.put("live.dx", l, places, dx[0], add=True)
        self.put("live.z", None, places, z.detach())


def expected(directory, stretch, rows, dump):
    """stretch None: in fp32."""
    model = Model(directory, stretch)
    text = model.model.config.get_text_config()
    sizes = {"blocks": model.N, "width": text.hidden_size, "vocabulary": text.vocab_size}
    for key, size in sizes.items():
        if rows[key] != size:
            give_up(f"{directory}: {key} {size}, but the dump is of a model ({rows['model']}) with {rows[key]}")
    out = Expected(model, rows, dump).out
    if stretch:
        model.restore()
    return out


# ---- comparing ----

def error_of(got, want):
    """(worst row's error, that row)"""
    if got.ndim == 1:
        got, want = got[:, None], want[:, None]
    got, want = got.double(), want.double()
    length = want.norm(dim=1)
    difference = (got - want).norm(dim=1)
    length = torch.maximum(length, length.median())
    error = torch.where(difference == 0, 0.0, difference / length)
    error = torch.where(torch.isnan(error), torch.inf, error)
    row = int(error.argmax())
    return float(error[row]), row


def order(rows, dump):
    """(direction, name, who computes it) in the order in which it is computed."""
    N, first = rows["blocks"], rows["first_block"]
    forward, backward = [], []
    for l in range(N + 1):
        forward.append((f"base.x.{l}", f"block {l - 1}, unsteered" if l else "the embedding"))
        forward.append((f"live.x.{l}", f"block {l - 1}" if l > first else f"the vector's addition before block {l}"))
    forward += [("base.z", "the head, unsteered"), ("live.z", "the head"), ("loss", "the loss")]
    backward.append((f"live.dx.{N}", "the head and the loss"))
    backward += [(f"live.dx.{l}", f"block {l}") for l in range(N - 1, -1, -1)]
    backward.append(("dv", "the sum over the steered rows"))
    return [(way, name, who) for way, part in (("forward", forward), ("backward", backward))
            for name, who in part if name in dump]


def read(folder):
    try:
        with open(os.path.join(folder, "rows.json"), encoding="utf-8") as f:
            rows = json.load(f)
        dump = load_file(os.path.join(folder, "activations.safetensors"))
    except Exception as e:  # whatever is wrong with the files
        give_up(f"{folder}: is no dump of osv-train --dump: {e}")
    if rows.get("format") != "osv-dump/1":
        give_up(f"{folder}: is a dump of another version ({rows.get('format')})")
    for i, c in enumerate(rows["completions"]):
        if c["kind"].endswith("kl"):
            c["logp"] = dump.pop(f"logp.{i}").double()
    return rows, dump


def main():
    parser = argparse.ArgumentParser(description="Names the first block of a dump that transformers disagrees with.")
    parser.add_argument("dump", help="folder made by osv-train --dump")
    parser.add_argument("model", help="folder of the same model")
    parser.add_argument("--budget", type=float, default=BUDGET_F32, help="relative error that is fine (default 1e-4)")
    arguments = parser.parse_args()
    rows, dump = read(arguments.dump)
    want = expected(arguments.model, None, rows, dump)
    rounding = dict.fromkeys(want, 0.0)
    for stretch in STRETCHES if rows["dtype"] == "bf16" else ():
        for name, x in expected(arguments.model, stretch, rows, dump).items():
            rounding[name] = max(rounding[name], error_of(x, want[name])[0])

    print(f"{rows['model']}, {rows['backend']}, {rows['dtype']}, against transformers in fp32")
    print(f"{'':12} {'rows':>5} {'error':>9} {'budget':>9}      {'worst':>5}  computed by")
    first = {}
    for way, name, who in order(rows, dump):
        budget = arguments.budget + ROUNDINGS * rounding[name]
        error, row = error_of(dump[name], want[name])
        good = error <= budget
        # Rows of jobs that start here do not come out of the block before.
        if name.startswith("live.x.") and not good:
            l = int(name.rsplit(".", 1)[1])
            if 0 < l < rows["blocks"] and row >= rows["live"]["active"][l - 1]:
                who = f"the vector's addition before block {l}"
        print(f"{name:12} {len(dump[name]):5} {error:9.1e} {budget:9.1e}  {'ok ' if good else 'OUT'} {row:5}  {who}"
              + (", going back" if way == "backward" and name != "dv" else ""))
        if not good:
            first.setdefault(way, f"{who} ({name}, error {error:.1e}, budget {budget:.1e})")
    if not first:
        print("all blocks within budget")
        return 0
    follows = ", which may follow from it" if len(first) == 2 else ""
    print("first out of budget: forward " + first.get("forward", "none")
          + "; backward " + first.get("backward", "none") + follows)
    return 1


if __name__ == "__main__":
    sys.exit(main())

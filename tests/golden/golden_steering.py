"""The forms in which parameters meet the residual stream, what is optimized, and training, for any model with
`logits(ids, edits)` and `dtype`: written from the formulas, gradients by autograd. README.md, "forms/", has the keys."""
import functools
import math

import torch

from golden_draws import sign as drawn_sign
from golden_melbo import distance_loss, orthogonal
from golden_train import Adam, Adamax, token_losses


def rows_of_site(case):
    """Rows of parameters of one block: v, the offset of a clamp, left and right."""
    return 1 + case["offset"] + 2 * case["rank"]


def roles(case):
    """What each row is."""
    site = ["v"] + ["offset"] * case["offset"] + ["factor"] * (2 * case["rank"])
    return site * (len(case["layers"]) if case["apart"] else 1)


def vectors(case, rows):
    return torch.stack([row for role, row in zip(roles(case), rows) if role == "v"])


def steer(case, rows, sign, x):
    """x [T, D] as it goes on, by one site's rows [n, D]; sign [T, 1]: +1, -1, or 0 where it is left alone."""
    v, kind = rows[0], case["apply"].partition(":")[0]
    if kind == "add":
        y = x + sign * v
    elif kind == "add-norm":
        y = x + sign * v
        y = y * (x.norm(dim=-1, keepdim=True) / y.norm(dim=-1, keepdim=True))
    elif kind in ("clamp", "ablate"):
        c = 0.0 if kind == "ablate" else float(case["apply"].partition(":")[2] or 1)
        from_offset = x - rows[1] if case["offset"] else x
        y = x - (from_offset @ v)[:, None] / (v @ v) * v + c * sign * v
    else:
        left, right = rows[1:].chunk(2)
        y = x + (x @ right.T) @ left + sign * v
    return torch.where(sign != 0, y, x)


def edits(case, rows, sign):
    n = rows_of_site(case)
    return {layer: functools.partial(steer, case, rows[k * n:(k + 1) * n] if case["apart"] else rows, sign)
            for k, layer in enumerate(case["layers"])}


def divergences(logits, target, coldness, reverse):
    """KL(p || P) of each row, or KL(P || p): p = softmax(target), P = softmax(coldness logits)."""
    log_P, log_p = torch.log_softmax(coldness * logits, -1), torch.log_softmax(target, -1)
    if reverse:
        return (log_P.exp() * (log_P - log_p)).sum(-1)
    p = log_p.exp()
    return (p * torch.where(p > 0, log_p - log_P, torch.zeros_like(p))).sum(-1)


def completion_loss(case, c, logits):
    rows, ids = logits[len(c["prompt"]) - 1:-1], c["completion"]  # the row before a token predicts it
    if "target_logits" in c:
        losses = divergences(rows, c["target_logits"].to(rows.dtype), case["coldness"], c["kind"] == "match-reverse")
    else:
        losses = token_losses(rows, ids, c["kind"] == "one-minus", case["coldness"], case["eps"])
    total = -losses.sum() if c["kind"] == "negated" else losses.sum()
    return total / len(ids) if case["length_norm"] or c["kind"] == "anchor" else total


def measure(model, case, rows):
    """One loss a completion, at these parameters [rows, D]."""
    out = []
    for c in case["completions"]:
        steered = edits(case, rows, torch.tensor(c["steer"], dtype=rows.dtype)[:, None])
        if c["kind"] == "melbo":
            out.append(distance_loss(model, c, steered))
        else:
            out.append(completion_loss(case, c, model.logits(c["prompt"] + c["completion"], steered)))
    return torch.stack(out)


def size(case, rows):
    """|v| + |left^T right|, over all blocks."""
    length, rank = vectors(case, rows).norm(), case["rank"]
    if rank == 0:
        return length
    return length + torch.stack([site[-2 * rank:-rank].T @ site[-rank:] for site in rows.split(rows_of_site(case))]).norm()


def penalty(case, rows):
    """What the vectors cost by themselves. `size`: in the second phase (golden_shorten.py)."""
    v = vectors(case, rows)
    total = case["l1"] * v.abs().sum() + case["group"] * v.norm(dim=-1).sum()
    return total + case["size"] * size(case, rows) if "size" in case else total


def weight_of(case, c, steps):
    """In the step after so many; None: on average."""
    if "sign" not in c or steps is None:
        return c.get("weight", 1.0)
    return 2 * c.get("weight", 1.0) if c["sign"] == drawn_sign(case["name"], steps) else 0.0


def violations(case, losses, slack):
    """How far losses are above their bounds, the slack counted; 0 where there is no bound. In fp64: at first it is 0, and
    what rounding makes of that would be a whole step of Adamax."""
    return torch.stack([loss - c["bound"] + s * s if "bound" in c else 0 * loss
                        for c, loss, s in zip(case["completions"], losses.double(), slack)])


class Multipliers:
    """Of the bounds (Platt & Barr 1988): those go up, slacks go down what is optimized, by Adamax."""

    def __init__(self, case, losses):
        self.case, self.multiplier = case, torch.zeros_like(losses.double())
        self.slack = torch.clamp(-violations(case, losses, self.multiplier), min=0.0).sqrt()
        self.weight = torch.tensor([c.get("weight", 1.0) for c in case["completions"]], dtype=torch.float64)
        self.steps = Adamax(self.slack, -case["bound_lr"]), Adamax(self.slack, case["bound_lr"])

    def step(self, losses):
        g = violations(self.case, losses, self.slack)
        up, down = self.weight * g, self.weight * (self.multiplier + g) * 2 * self.slack
        self.multiplier = self.steps[0].step(self.multiplier, up).clamp(min=0.0)
        self.slack = self.steps[1].step(self.slack, down)


def objective(case, losses, rows, steps=None, multipliers=None):
    """What is minimized. A pair's margin is how much more likely the chosen one has become than the other."""
    total = penalty(case, rows)
    multipliers = multipliers or Multipliers(case, losses.detach())
    g = violations(case, losses, multipliers.slack)
    for i, (c, loss) in enumerate(zip(case["completions"], losses)):
        weight = weight_of(case, c, steps)
        if "partner" in c:
            other = case["completions"][c["partner"]]
            margin = c["beta"] * (c["reference"] - loss)
            margin = margin + other["beta"] * (other["reference"] - losses[c["partner"]])
            if i < c["partner"]:  # once for both
                total = total + weight * torch.nn.functional.softplus(-margin)
        elif "bound" in c:
            total = total + weight * (multipliers.multiplier[i] * g[i] + g[i] ** 2 / 2)
        elif case["satisfice"] and c["kind"] != "anchor":
            total = total + weight * (loss - c.get("target", case["target_loss"])) ** 2
        else:
            total = total + weight * loss
    return total


def gradient(model, case, rows, steps=0, multipliers=None):
    """(losses, d objective / d rows) of the step after so many. Offsets are given, not trained."""
    rows = rows.detach().clone().requires_grad_(True)
    losses = measure(model, case, rows)
    d, = torch.autograd.grad(objective(case, losses, rows, steps, multipliers), rows)
    trained = torch.tensor([role != "offset" for role in roles(case)])
    return losses.detach(), torch.where(trained[:, None], d, torch.zeros_like(d))


def share_of_lr(case, step):
    """Of step 1, 2, ...: rises over the warm-up, then falls so that it would be 0 one step after the last."""
    if step <= case["warmup"]:
        return step / case["warmup"]
    done = (step - 1 - case["warmup"]) / (case["max_iters"] - case["warmup"])
    return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[case["schedule"]]


def project(case, rows):
    """Vectors away from those that they stay orthogonal to; each row back to the largest norm of its kind."""
    most = {"v": case["max_norm"], "factor": case["max_affine_norm"], "offset": None}
    out = []
    for role, row in zip(roles(case), rows):
        limit = most[role]
        if role == "v" and "orthogonal_to" in case:
            row = orthogonal(row, case["orthogonal_to"])
        out.append(row if limit is None or row.norm() <= limit else row * (limit / row.norm()))
    return torch.stack(out)


def first_phase(model, case, start):
    """`max_iters` steps; the lists have one more entry for the parameters that are kept."""
    rows = start.to(model.dtype)
    adam = Adam(rows, case["lr"], (0.9, 0.999), case["adam_eps"])
    multipliers = None  # begin where the first losses are
    out = {"losses": [], "objective": [], "norm": [], "grad_norm": []}
    for step in range(1, case["max_iters"] + 2):
        losses, d = gradient(model, case, rows, step - 1, multipliers)
        multipliers = multipliers or Multipliers(case, losses)
        out["losses"].append(losses.tolist())
        out["objective"].append(float(objective(case, losses, rows, None, multipliers)))
        out["norm"].append(vectors(case, rows).norm().item())
        if step > case["max_iters"]:
            return {**out, "final": rows}
        out["grad_norm"].append(vectors(case, d).norm().item())
        adam.lr = case["lr"] * share_of_lr(case, step)
        rows = project(case, adam.step(rows, d))
        multipliers.step(losses)

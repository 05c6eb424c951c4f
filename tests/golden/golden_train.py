"""Objective, gradient and projected Adam, for any model with `logits(ids, edits)` and `dtype`."""
import torch


def positions(text, prompt, total):
    """Indices of the steered tokens of one completion: a whole part, or a slice or index of it."""
    base, _, rest = text.partition(":")
    span = {"all": range(total), "prompt": range(prompt), "completion": range(prompt, total)}[base]
    if not rest:
        return list(span)
    if ":" not in rest:
        return [span[int(rest)]]
    return list(span[slice(*(int(part) if part else None for part in rest.split(":")))])


def completions(data):
    """(datapoint index, datapoint, suppress, prompt ids, completion ids) in the order of lists of losses."""
    out = []
    for i, point in enumerate(data):
        for key in ("promote", "dst_completions", "suppress", "src_completions"):
            for completion in point.get(key, []):
                suppress = key in ("suppress", "src_completions")
                out.append((i, point, suppress, point["prompt"]["ids"], completion["ids"]))
    return out


def token_losses(logits, targets, suppress, coldness, eps):
    """Loss of each target given its row of logits. 1 - P is the sum of the other tokens' probabilities, never
    a subtraction, which in fp32 would lose its digits where P is close to 1."""
    log_p = torch.log_softmax(coldness * logits, -1)
    target = torch.zeros_like(log_p, dtype=torch.bool)
    target[torch.arange(len(targets)), torch.tensor(targets)] = True
    keep = ~target if suppress else target
    return -torch.log(torch.where(keep, log_p.exp(), torch.zeros_like(log_p)).sum(-1) + eps)


def measure(model, case, data, v):
    """Losses (one a completion) and logits (one [tokens, V] a completion) at v."""
    losses, rows = [], []
    for _, point, suppress, prompt, completion in completions(data):
        ids = prompt + completion
        mask = torch.zeros(len(ids), 1, dtype=v.dtype)
        mask[positions(point.get("positions", "all"), len(prompt), len(ids))] = 1.0
        sign = -1.0 if point.get("negative", False) else 1.0
        logits = model.logits(ids, {case["layer"]: lambda x: x + mask * (sign * v)})
        rows.append(logits[len(prompt) - 1:-1])  # the row before a token predicts it
        losses.append(token_losses(rows[-1], completion, suppress, case["coldness"], case["eps"]).sum())
    return torch.stack(losses), rows


def gradient(model, case, data, v):
    """(losses, dv) at v."""
    v = v.detach().clone().requires_grad_(True)
    losses, _ = measure(model, case, data, v)
    dv, = torch.autograd.grad(losses.sum(), v)
    return losses.detach(), dv


class Adam:
    """Written out; equal to torch.optim.Adam up to rounding (make_golden.py checks it)."""

    def __init__(self, v, lr, betas, eps):
        self.lr, self.betas, self.eps, self.t = lr, betas, eps, 0
        self.m, self.s = torch.zeros_like(v), torch.zeros_like(v)

    def step(self, v, dv):
        (b1, b2), self.t = self.betas, self.t + 1
        self.m = b1 * self.m + (1 - b1) * dv
        self.s = b2 * self.s + (1 - b2) * dv * dv
        return v - self.lr * (self.m / (1 - b1**self.t)) / ((self.s / (1 - b2**self.t)).sqrt() + self.eps)


class Adamax:
    """Kingma & Ba 2015, algorithm 2, with the usual constants. A negative learning rate ascends."""

    def __init__(self, x, lr):
        self.lr, self.t, self.m, self.u = lr, 0, torch.zeros_like(x), torch.zeros_like(x)

    def step(self, x, d):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * d
        self.u = torch.maximum(0.999 * self.u, d.abs() + 1e-8)
        return x - self.lr / (1 - 0.9**self.t) * self.m / self.u


def train(model, case, data, start, run):
    """One run as the trace describes it. The loss measured at iteration i decides whether step i is taken."""
    v = start.to(model.dtype)
    adam = Adam(v, run["lr"], run["betas"], run["adam_eps"])
    out = {"loss": [], "losses": [], "norm": [], "grad_norm": []}
    still = 0  # consecutive changes below plateau_eps
    while True:
        losses, dv = gradient(model, case, data, v)
        loss = losses.sum()
        out["loss"].append(loss.item())
        out["losses"].append(losses.tolist())
        out["norm"].append(v.norm().item())
        if run["plateau_eps"] is not None and len(out["loss"]) > 1:
            still = still + 1 if abs(out["loss"][-1] - out["loss"][-2]) < run["plateau_eps"] else 0
        if run["target_loss"] is not None and out["loss"][-1] <= run["target_loss"]:
            out["stopped"] = "target"
        elif adam.t == run["max_iters"]:
            out["stopped"] = "max-iters"
        elif run["plateau_eps"] is not None and still >= run["plateau_iters"]:
            out["stopped"] = "plateau"
        if "stopped" in out:
            return {**out, "steps": adam.t, "final": v}
        out["grad_norm"].append(dv.norm().item())
        v = adam.step(v, dv)
        if run["max_norm"] is not None and v.norm() > run["max_norm"]:
            v = v * (run["max_norm"] / v.norm())

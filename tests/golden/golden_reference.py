"""Training as the published reference implementation does it, with its quirks, written from a description of what it
does (its code has no licence and is not here). Each quirk can be left out, to show that it can be seen.

    extra-step          max_iters N takes N + 1 steps
    step-after-target   one more step follows the measurement that met the target
    plateau-total       small changes are counted in all, not in a row
    constant-norm       |v|^2 in a clamp is a constant for the gradient
    cut                 gradient does not go through a row on from where it is steered: of several blocks only the last
                        one's steering of it counts
    mixed-pair          the second phase returns the vector before its last step with the matrix after it
"""
import functools

import torch

from golden_train import Adam, Adamax

QUIRKS = ("extra-step", "step-after-target", "plateau-total", "constant-norm", "cut", "mixed-pair")


# ---- the loss ----

def steer(case, rows, sign, quirks, x):
    v, clamp = rows[0], case["apply"].removeprefix("clamp:")
    entered = x.detach() if "cut" in quirks else x
    if case["apply"] == "add":
        y = entered + sign * v
    elif case["apply"] == "affine":
        left, right = rows[1:].chunk(2)
        y = entered + entered @ (left.T @ right).T + sign * v
    else:
        vv = (v @ v).detach() if "constant-norm" in quirks else v @ v
        y = entered - (entered @ v)[:, None] * v / vv + float(clamp) * sign * v
    return torch.where(sign != 0, y, x)


def measure(model, case, rows, quirks):
    """One loss a completion."""
    out = []
    for c in case["completions"]:
        sign = torch.tensor(c["steer"], dtype=rows.dtype)[:, None]
        edit = functools.partial(steer, case, rows, sign, quirks)
        logits = model.logits(c["prompt"] + c["completion"], {layer: edit for layer in case["layers"]})
        p = torch.softmax(case["coldness"] * logits[len(c["prompt"]) - 1:-1], -1)
        p = p[range(len(c["completion"])), c["completion"]]
        loss = -torch.log((1 - p if c["kind"] == "one-minus" else p) + case["eps"]).sum()
        out.append(loss / len(c["completion"]) if case["length_norm"] else loss)
    return torch.stack(out)


def targets(case):
    return [c.get("target", case["target_loss"]) for c in case["completions"]]


def optimized(case, losses):
    if not case["satisfice"]:
        return losses.sum()
    return sum((loss - target) ** 2 for loss, target in zip(losses, targets(case)))


def project(case, rows):
    def within(row, most):
        return row if most is None or row.norm() <= most else row * (most / row.norm())
    return torch.stack([within(rows[0], case["max_norm"])] + [within(row, case["max_affine_norm"]) for row in rows[1:]])


# ---- the first phase ----

def meets_target(case, losses):
    if case["target_loss"] is None:
        return False
    slack = case["eps"] if case["satisfice"] else 0.0
    if case["target_rule"] == "sum":
        return sum(losses) <= case["target_loss"] + slack
    return all(loss <= target + slack for loss, target in zip(losses, targets(case)))


def first_phase(model, case, start, quirks):
    """`losses` and `norm`: before each step and at the end; `rows`: what is returned."""
    rows = start.to(model.dtype)
    adam = Adam(rows, case["lr"], (0.9, 0.999), 1e-8)
    out = {"losses": [], "norm": []}
    met = flat = 0
    while True:
        leaf = rows.detach().clone().requires_grad_(True)
        losses = measure(model, case, leaf, quirks)
        d, = torch.autograd.grad(optimized(case, losses), leaf)
        out["losses"].append(losses.tolist())
        out["norm"].append(rows[0].norm().item())
        met = met + 1 if meets_target(case, losses.tolist()) else 0
        if len(out["losses"]) > 1:
            small = abs(sum(out["losses"][-1]) - sum(out["losses"][-2])) < case["eps"]
            flat = flat + small if small or "plateau-total" in quirks else 0
        stops = met > 0 and met >= case["target_iters"]
        if stops and "step-after-target" not in quirks:
            return {**out, "stopped": "target", "rows": rows}
        if adam.t == case["max_iters"] + ("extra-step" in quirks):
            return {**out, "stopped": "max-iters", "rows": rows}
        if flat >= case["plateau_iters"] > 0:
            return {**out, "stopped": "plateau", "rows": rows}
        rows = project(case, adam.step(rows, d))
        if stops:
            out["losses"].append(measure(model, case, rows, quirks).tolist())
            out["norm"].append(rows[0].norm().item())
            return {**out, "stopped": "target", "rows": rows}


# ---- the second phase ----

def length(case, rows):
    """What the second phase makes small: |v|, with a matrix its Frobenius norm too."""
    if case["apply"] != "affine":
        return rows[0].norm()
    left, right = rows[1:].chunk(2)
    return rows[0].norm() + (left.T @ right).norm()


def second_phase(model, case, start, quirks):
    """Modified differential multipliers (Platt & Barr 1987) with damping 1: with the violation g = bound - L - slack^2,
    |v| + sum of scale (multiplier g + g^2 / 2) goes down in the parameters and slacks, up in the multipliers."""
    rows, eps = start.detach(), case["eps"]
    achieved = measure(model, case, rows, quirks).detach()
    bound = torch.stack([loss + eps if target is None else torch.minimum(torch.full_like(loss, target), loss + eps)
                         for loss, target in zip(achieved, targets(case))])
    scale = length(case, rows) / (eps + bound)
    slack, multiplier = (bound - achieved).clamp(min=0).sqrt(), torch.zeros_like(bound)
    lr = case["second_lr"]
    steps = Adamax(rows, lr), Adamax(slack, lr), Adamax(multiplier, -lr)
    out = {"losses": [achieved.tolist()], "norm": [length(case, rows).item()], "bound": bound.tolist()}
    while len(out["norm"]) <= case["second_iters"]:
        leaves = [x.clone().requires_grad_(True) for x in (rows, slack, multiplier)]
        losses = measure(model, case, leaves[0], quirks)
        g = bound - losses - leaves[1] ** 2
        d = torch.autograd.grad(length(case, leaves[0]) + (scale * (leaves[2] * g + g * g / 2)).sum(), leaves)
        before = rows
        rows, slack, multiplier = (step.step(x, dx) for step, x, dx in zip(steps, (rows, slack, multiplier), d))
        out["norm"].append(length(case, rows).item())
        out["losses"].append(measure(model, case, rows, quirks).tolist())
        if out["norm"][-1] > out["norm"][-2]:
            kept = torch.cat((before[:1], rows[1:])) if "mixed-pair" in quirks else before
            return {**out, "stopped": "norm", "rows": kept}
    return {**out, "stopped": "max-iters", "rows": rows}


def run(model, case, start, quirks=QUIRKS):
    out = first_phase(model, case, start, quirks)
    if case["second_lr"] is not None:
        out["second"] = second_phase(model, case, out["rows"], quirks)
        out["rows"] = out["second"]["rows"]
    return out

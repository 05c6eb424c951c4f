"""A whole training: the first phase of golden_steering.py, then, where the case asks for it, the second one, which makes
the vector as short as the losses allow."""
import torch

from golden_steering import Multipliers, first_phase, gradient, project, size, vectors
from golden_train import Adamax


def second_case(case, losses, rows):
    """What is trained then: every loss has a bound."""
    completions, long = [], size(case, rows).item()
    for c, loss in zip(case["completions"], losses):
        target = None if c["kind"] == "anchor" else c.get("target", case["target_loss"])
        bound = c.get("bound", (loss if target is None else min(loss, target)) + case["eps"])
        completions.append({**{key: c[key] for key in c if key not in ("sign", "partner")}, "bound": bound,
                            "weight": long / (case["eps"] + abs(bound))})
    lr = case["min_norm_lr"]
    return {**case, "completions": completions, "l1": 0.0, "group": 0.0, "size": 1.0, "lr": lr, "bound_lr": lr}


def allowed(case, losses, margin=0.0):
    return all(loss + margin * abs(loss) <= c["bound"] for c, loss in zip(case["completions"], losses))


def shorten(model, case, out):
    """Goes on from what the first phase kept, for `min_norm_iters` steps; the shortest parameters that are allowed are kept.
    The lists go on, their last entry is of what is kept, after `kept` steps. `sure`: rounding does not decide which."""
    rows, first = out["final"], len(out["norm"]) - 1
    case = second_case(case, out["losses"][-1], rows)
    best = {"final": rows, "losses": out["losses"].pop(), "norm": out["norm"].pop(), "kept": first}
    shortest, adamax, multipliers, sure = size(case, rows), Adamax(rows, case["lr"]), None, True
    for step in range(case["min_norm_iters"] + 1):
        losses, d = gradient(model, case, rows, 0, multipliers)
        multipliers = multipliers or Multipliers(case, losses)
        now = {"final": rows, "losses": losses.tolist(), "norm": vectors(case, rows).norm().item(), "kept": first + step}
        if size(case, rows) < shortest:
            sure = sure and allowed(case, now["losses"], 1e-4) == allowed(case, now["losses"], -1e-4)
            if allowed(case, now["losses"]):
                best, shortest = now, size(case, rows)
        if step < case["min_norm_iters"]:
            out["losses"].append(now["losses"])
            out["norm"].append(now["norm"])
            out["grad_norm"].append(vectors(case, d).norm().item())
            rows = project(case, adamax.step(rows, d))
            multipliers.step(losses)
    return {**out, "losses": out["losses"] + [best["losses"]], "norm": out["norm"] + [best["norm"]],
            "final": best["final"], "kept": best["kept"], "sure": sure}


def train(model, case, start):
    out = first_phase(model, case, start)
    return shorten(model, case, out) if case["min_norm_iters"] else {**out, "kept": case["max_iters"]}

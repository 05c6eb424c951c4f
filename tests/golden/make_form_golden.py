"""Make forms/: see README.md. Usage: make_form_golden.py [model ...]"""
import itertools
import os
import sys

import torch

from golden_common import Limits, dump, normal, relative
from golden_form_cases import make_cases
from golden_hf import Transformers, TransformersDouble
from golden_models import write_tensors
from golden_oracle import Oracle
from golden_shorten import train
from golden_steering import Multipliers, gradient, measure, objective, roles, rows_of_site

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ("llama-tiny", "gemma2-tiny")
SHARE = 0.5  # |v| as a share of a typical row of the residual stream where v enters first


def start_of(name, case, oracle):
    """Parameters [rows, D]; blocks that have their own share an offset."""
    x = torch.cat([oracle.residual(c["prompt"] + c["completion"], case["layers"][0]) for c in case["completions"]])
    length = x.norm(dim=-1).mean().item()
    length = {"v": SHARE * length, "offset": length, "factor": 1.0}
    return torch.stack([normal(oracle.s["D"], length[role], name, "forms", case["name"], role if role == "offset" else i)
                        for i, role in enumerate(roles(case))])


def fill_unsteered(case, oracle):
    """What pairs and anchors take from the unsteered model: losses, distributions."""
    for c in case["completions"]:
        if c["kind"] == "anchor":
            ids = c["prompt"] + c["completion"]
            c["target_logits"] = case["coldness"] * oracle.logits(ids)[len(c["prompt"]) - 1:-1]
    steers_nothing = {**case, "apply": "add"}
    losses = measure(oracle, steers_nothing, torch.zeros(len(roles(case)), oracle.s["D"], dtype=torch.float64))
    for c, loss in zip(case["completions"], losses.tolist()):
        if "partner" in c:
            c["reference"] = round(loss, 9)


def apart(trace, other):
    """How far the losses of two traces are from each other, at most."""
    return max(relative(a, b) for a, b in zip(trace["losses"], other["losses"]))


def choose_min_norm_lr(where, case, start, hf, oracle):
    """One with which the second phase finds something shorter, if there is one, and rounding decides nothing."""
    for least, lr in itertools.product((2, 0), (0.1, 0.07, 0.15, 0.05, 0.2)):
        case["min_norm_lr"] = lr
        trace, trace32 = train(oracle, case, start), train(hf, case, start)
        if trace["kept"] >= case["max_iters"] + least and trace["sure"] and apart(trace32, trace) < 2e-5:
            return
    sys.exit(f"{where}: the second phase depends on rounding")


def forgotten(case, start):
    """The case with one thing left out or changed: (what, case, parameters)."""
    all_of, site = case["completions"], rows_of_site(case)

    def of(what, rows=start, **keys):
        return what, {**case, **keys}, rows

    def each(what, change):
        return of(what, completions=[change(c) for c in all_of])

    yield of("the form", apply="ablate" if case["apply"] == "add" else "add")
    yield of("the coldness", coldness=1.3)
    if case["apply"].startswith("clamp"):
        yield of("what it is clamped to", apply="clamp:0.3")
    if case["offset"]:
        yield of("the offset", start * torch.tensor([[role != "offset"] for role in roles(case)]))
    if len(case["layers"]) > 1:
        yield of("the first block", start[site:] if case["apart"] else start, layers=case["layers"][1:])
        yield of("the last block", start[:-site] if case["apart"] else start, layers=case["layers"][:-1])
    if case["apart"]:
        yield of("parameters of their own", start[:site], apart=False)
    if case["length_norm"]:
        yield of("the division by lengths", length_norm=False)
    for key in ("l1", "group"):
        if case[key]:
            yield of(key, **{key: 0.0})
    if case["satisfice"]:
        yield of("the square", satisfice=False)
        yield of("the job's target", target_loss=7.5)
    if any(0 in c["steer"] for c in all_of):
        yield each("positions", lambda c: {**c, "steer": [max(c["steer"], key=abs)] * len(c["steer"])})
    if any(-1 in c["steer"] for c in all_of) and case["apply"] not in ("ablate", "clamp:0"):
        yield each("signs", lambda c: {**c, "steer": [abs(s) for s in c["steer"]]})
    for key, other in (("weight", 1.0), ("target", 8.0), ("beta", 0.3), ("reference", 9.0)):
        if any(key in c for c in all_of):
            yield each(key, lambda c: {**c, key: other} if key in c else c)
    if any("bound" in c for c in all_of):
        yield each("bounds", lambda c: {k: x for k, x in c.items() if k != "bound"})
    if any("sign" in c for c in all_of):
        yield each("drawn signs", lambda c: {**c, "sign": -c["sign"]})
    for kind, other in (("one-minus", "negated"), ("negated", "promote"), ("match-reverse", "match")):
        if any(c["kind"] == kind for c in all_of):
            yield each(kind, lambda c: {**c, "kind": other} if c["kind"] == kind else c)


def check_forgotten(where, changed, losses, d, oracle):
    for what, other, rows in changed:
        losses_other, d_other = gradient(oracle, other, rows)
        seen = relative(losses_other, losses)
        if d_other.shape == d.shape:
            seen = max(seen, relative(d_other, d))
        if not seen > 1e-3:
            sys.exit(f"{where}: forgetting {what} would not be seen")


def check_trace(where, case, start, trace, oracle):
    """It goes somewhere, and what holds it back does."""
    begin, end = trace["objective"][0], trace["objective"][-1]
    if not end < begin - 0.02 * abs(begin):
        sys.exit(f"{where}: the objective goes from {begin:.4g} to {end:.4g}")
    bounded = any("bound" in c for c in case["completions"])
    for key, other in (("max_norm", None), ("max_affine_norm", None), ("schedule", "constant"), ("warmup", 0),
                       ("bound_lr", 0.0)):
        if case[key] in (None, other) or (key == "bound_lr" and not bounded):
            continue
        if not relative(train(oracle, {**case, key: other}, start)["final"], trace["final"]) > 1e-3:
            sys.exit(f"{where}: forgetting {key} would not be seen")


def fill_in(where, case, start, changed, models, tensors, limits):
    """The expected numbers of one case. `changed`: as `forgotten` has it."""
    hf, hf64, oracle = models
    key = case["name"] + "."
    losses, d = gradient(oracle, case, start.double())
    losses_hf, d_hf = gradient(hf64, case, start.double())
    _, d32 = gradient(hf, case, start)
    limits.check("loss, transformers in fp64 - oracle", relative(losses_hf, losses), 1e-12, where)
    limits.check("gradient, transformers in fp64 - oracle", relative(d_hf, d), 1e-11, where)
    limits.check("gradient, transformers in fp32 - oracle", relative(d32, d), 1e-4, where)

    u, h = d / d.norm(), 1e-5
    at_start = Multipliers(case, losses)
    up, down = (objective(case, measure(oracle, case, rows), rows, 0, at_start) for rows in (start + h * u, start - h * u))
    limits.check("gradient, oracle - difference quotient", relative((up - down) / (2 * h), d.norm()), 1e-6, where)
    for row, role in zip(d, roles(case)):
        if role != "offset" and not row.norm() > 1e-3 * d.norm():
            sys.exit(f"{where}: the objective hardly depends on a row of parameters")
    check_forgotten(where, changed, losses, d, oracle)

    trace, trace32 = train(oracle, case, start), train(hf, case, start)
    limits.check("losses of a trace, fp32 - oracle", apart(trace32, trace), 2e-5, where)
    limits.check("final parameters, fp32 - oracle", relative(trace32["final"], trace["final"]), 2e-4, where)
    check_trace(where, case, start, trace, oracle)
    tensors.update({key + "start": start, key + "gradient": d, key + "final": trace["final"].float()})
    for what in ("losses", "norm", "grad_norm", "kept"):
        case[what] = trace[what]
    return trace


def make_case(name, case, models, tensors, limits):
    hf, _, oracle = models
    where = f"{name}/{case['name']}"
    fill_unsteered(case, oracle)
    start = start_of(name, case, oracle)
    if case["min_norm_iters"]:
        choose_min_norm_lr(where, case, start, hf, oracle)
    fill_in(where, case, start, forgotten(case, start.double()), models, tensors, limits)
    for i, c in enumerate(case["completions"]):
        target = c.pop("target_logits", None)
        if c["kind"].startswith("match"):
            tensors[f"{case['name']}.logits.{i}"] = target


def shortened(x):
    """Twelve digits, far more than anything is compared to."""
    if isinstance(x, float):
        return float(f"{x:.12g}")
    if isinstance(x, dict):
        return {key: shortened(value) for key, value in x.items()}
    return [shortened(value) for value in x] if isinstance(x, list) else x


def make_model(name, folder, make_cases, make_case):
    print(name)
    directory, out = os.path.join(HERE, "models", name), os.path.join(HERE, folder, name)
    models = Transformers(directory), TransformersDouble(directory), Oracle(directory)
    tensors, limits, cases = {}, Limits(), make_cases(name, models[-1])
    for case in cases:
        make_case(name, case, models, tensors, limits)
    limits.report()
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "cases.json"), "w", encoding="utf-8") as f:
        f.write(dump({"format": "osv-golden-forms/1", "model": name, "cases": shortened(cases)}))
    write_tensors(os.path.join(out, "cases.safetensors"), {key: t.contiguous() for key, t in sorted(tensors.items())})


def main(folder, make_cases, make_case):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model in sys.argv[1:] or MODELS:
        make_model(model, folder, make_cases, make_case)


if __name__ == "__main__":
    main("forms", make_cases, make_case)

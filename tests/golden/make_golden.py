"""Make models/ and cases/: see README.md. Usage: make_golden.py [model ...]"""
import json
import os
import shutil
import sys

import numpy as np
import torch

from golden_cases import FEW, LOGITS_OF, ONE_TRACE_OF, PLATEAU_OF, SHARE, SHARE_OF, TRACES_OF, make_cases, run
from golden_common import Limits, as32, dump, normal, relative
from golden_hf import Transformers, TransformersDouble
from golden_models import MODELS, write_model, write_tensors
from golden_oracle import Oracle
from golden_train import Adam, completions, gradient, measure, positions, train

HERE = os.path.dirname(os.path.abspath(__file__))


def make_case(name, case, data, hf, hf64, oracle, tensors, limits):
    """Fill in the expected numbers of one case."""
    where, key = f"{name}/{case['name']}", case["name"] + "."
    parts = completions(data)
    case["completions"] = [{"datapoint": i, "suppress": suppress, "prompt_tokens": len(p), "tokens": len(c)}
                           for i, _, suppress, p, c in parts]
    rows = torch.cat([oracle.residual(p + c, case["layer"]).norm(dim=-1) for _, _, _, p, c in parts])
    v = normal(oracle.s["D"], SHARE_OF.get(case["name"], SHARE) * rows.mean().item(), name, case["name"], "v")

    losses64, dv64 = gradient(oracle, case, data, v.double())
    losses32, dv32 = gradient(hf, case, data, v)
    losses_hf64, dv_hf64 = gradient(hf64, case, data, v.double())
    zero64, _ = measure(oracle, case, data, torch.zeros_like(v).double())
    zero32, logits_zero = measure(hf, case, data, torch.zeros_like(v))
    _, logits32 = measure(hf, case, data, v)
    _, logits64 = measure(oracle, case, data, v.double())
    logits32, logits64 = torch.cat(logits32), torch.cat(logits64)

    limits.check("logits, fp32 - oracle", relative(logits32, logits64), 1e-5, where)
    limits.check("loss, fp32 - oracle", relative(losses32.sum(), losses64.sum()), 5e-6, where)
    limits.check("loss of a completion, fp32 - oracle", relative(losses32, losses64), 1e-5, where)
    limits.check("loss at 0, fp32 - oracle", relative(zero32.sum(), zero64.sum()), 5e-6, where)
    limits.check("dv, fp32 - oracle", relative(dv32, dv64), 1e-4, where)
    limits.check("1 - cosine of dv, fp32, oracle",
                 1 - torch.cosine_similarity(dv32.double(), dv64, 0).item(), 1e-8, where)
    limits.check("loss, forced fp64 - oracle", relative(losses_hf64, losses64), 1e-12, where)
    limits.check("dv, forced fp64 - oracle", relative(dv_hf64, dv64), 1e-11, where)

    # The gradient is that of the loss: central difference along dv.
    u, h = dv64 / dv64.norm(), 1e-5
    up, down = (measure(oracle, case, data, v.double() + s * h * u)[0].sum() for s in (1, -1))
    slope = (up - down) / (2 * h)
    limits.check("dv, oracle - difference quotient", relative(slope, dv64.norm()), 1e-6, where)
    # v, its sign and its positions matter.
    if not relative(losses64.sum(), zero64.sum()) > 1e-3 or not relative(-dv64, dv64) > 1:
        sys.exit(f"{where}: the loss hardly depends on v")

    case.update(losses32=as32(losses32.tolist()), losses64=losses64.tolist(),
                loss32=as32(losses32.sum().item()), loss64=losses64.sum().item(),
                losses32_zero=as32(zero32.tolist()), losses64_zero=zero64.tolist(),
                loss32_zero=as32(zero32.sum().item()), loss64_zero=zero64.sum().item(),
                dv64=dv64.tolist(), dv_norm64=dv64.norm().item(), logits=case["name"] in LOGITS_OF)
    tensors.update({key + "v": v, key + "dv32": dv32, key + "dv64": dv64.float()})
    if case["logits"]:
        tensors[key + "logits32"] = logits32.clone()


def make_trace(name, settings, case, data, start, hf, oracle, tensors, limits):
    """Train with both models; returns the trace with the numbers filled in."""
    where = f"{name}/{settings['name']}"
    r32, r64 = train(hf, case, data, start, settings), train(oracle, case, data, start, settings)
    if (r32["steps"], r32["stopped"]) != (r64["steps"], r64["stopped"]):
        sys.exit(f"{where}: fp32 and fp64 stop differently")
    if settings["plateau_eps"] is None and not moving(r64["loss"]):
        sys.exit(f"{where}: neighbouring losses are so close that a default plateau might stop it")
    limits.check("loss of a trace, fp32 - oracle",
                 max(relative(a, b) for a, b in zip(r32["loss"], r64["loss"])), 2e-5, where)
    limits.check("grad_norm of a trace, fp32 - oracle",
                 max(relative(a, b) for a, b in zip(r32["grad_norm"], r64["grad_norm"])), 2e-4, where)
    limits.check("final vector, fp32 - oracle", relative(r32["final"], r64["final"]), 2e-4, where)
    key = settings["name"] + "."
    tensors.update({key + "start": start.clone(), key + "final32": r32["final"],
                    key + "final64": r64["final"].float()})
    out = {**settings, "steps": r64["steps"], "stopped": r64["stopped"]}
    for what in ("loss", "losses", "norm", "grad_norm"):
        out[what + "32"], out[what + "64"] = as32(r32[what]), r64[what]
    return out


def moving(losses):
    """Whether no two neighbouring losses are so close that a run with the default plateau rule might stop."""
    return np.abs(np.diff(losses)).min() > 1e-3


def capped_settings(oracle, case, data, start, max_norm):
    """Twenty steps against a max_norm that bites; a larger one where the losses come to a turning point."""
    for factor in (1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0):
        settings = run(case["name"] + "-capped", case["name"], max_norm=round(factor * max_norm, 3))
        if (start.norm() > max_norm) != (start.norm() > settings["max_norm"]):
            continue  # where the start is meant to be longer than allowed, it stays so
        result = train(oracle, case, data, start, settings)
        if moving(result["loss"]) and abs(result["norm"][-1] - settings["max_norm"]) < 1e-9:
            return settings
    sys.exit(f"{case['name']}: no max_norm gives a moving trace")


def target_between(losses):
    """(loss, index): halfway into a new minimum near the trace's middle, so that rounding cannot decide."""
    best = [i for i in range(4, 16) if losses[i] < min(losses[:i]) - 0.01 * losses[0]]
    if not best:
        sys.exit("no clear new minimum for the target stop")
    i = min(best, key=lambda i: abs(i - 9))
    return round(0.5 * (losses[i] + min(losses[:i])), 6), i


def plateau_eps(losses, count, lone):
    """The largest eps for which `count` consecutive changes below it come after step five, with no change
    so near to eps that rounding could decide. `lone`: a shorter run of small changes comes before, so that a
    counter that is never reset would stop too early; otherwise there must be none."""
    change = np.abs(np.diff(losses))
    margin = 2e-4 * np.abs(losses[1:])  # twice what two layouts may differ in a trace
    for eps in sorted({round(float(c) * f, 6) for c in change[:-1] for f in (0.8, 1.2)}, reverse=True):
        small = change < eps
        stops = [i for i in range(count - 1, len(change)) if small[i - count + 1:i + 1].all()]
        if not stops or stops[0] < 5 or small[:stops[0] - count + 1].any() != lone:
            continue
        seen = stops[0] + 1
        if (np.abs(change[:seen] - eps) > np.maximum(0.1 * eps, margin[:seen])).all():
            return eps
    sys.exit("no eps shows the plateau rule")


def plateau_settings(name, oracle, by_name, start):
    case, lr, max_norm, lone = PLATEAU_OF[name]
    settings = run(case + "-plateau", case, lr=lr, max_norm=max_norm, max_iters=40, plateau_iters=2)
    losses = train(oracle, *by_name[case], start, {**settings, "plateau_eps": 0.0})["loss"]
    return {**settings, "plateau_eps": plateau_eps(losses, 2, lone)}


def rope_changes(s):
    """What could be forgotten about rotary embeddings: (what, settings)."""
    used = sorted(set(s["kinds"]))

    def each(**keys):
        return {"ropes": {kind: {**r, **keys} for kind, r in s["ropes"].items()}}

    changes = {"rope's base": {"ropes": {kind: {**r, "rope_theta": r["rope_theta"] * 2}
                                         for kind, r in s["ropes"].items()}}}
    r = s["ropes"]["full_attention"]
    if r["kind"] != "default":
        changes["rope scaling"] = each(kind="default")
    if r["sharpness"] != 1.0:
        changes["rope's sharpness"] = each(sharpness=1.0)
    if r["rot"] != s["E"]:
        changes["partial rotary"] = each(rot=s["E"])
    if r["kind"] == "longrope":
        changes |= {"long factors": each(long_factor=r["short_factor"]),
                    "short factors": each(short_factor=r["long_factor"]),
                    "the original context": each(original=48)}
    if r["kind"] == "yarn":
        changes |= {"yarn's betas": each(beta_fast=r.get("beta_fast", 32.0) / 4, beta_slow=r.get("beta_slow", 1.0) / 2),
                    "truncation of yarn": each(truncate=not r.get("truncate", True)),
                    "the original context": each(original=r["original"] * 2)}
    if len(used) > 1:
        local = s["ropes"]["sliding_attention"]
        changes |= {"the local rope": {"kinds": ["full_attention"] * s["N"]},
                    "the global rope": {"kinds": ["sliding_attention"] * s["N"]},
                    "no scaling of the local rope": {
                        "ropes": {**s["ropes"], "sliding_attention": {**r, "rope_theta": local["rope_theta"]}}}}
    return changes


def check_features(name, directory, oracle, cases, tensors):
    """Leave out or change one feature at a time: the losses of all cases together must show it."""
    s = oracle.s
    changes = {**rope_changes(s), "norm eps": {"norm_eps": 0.0},
               "activation": {"activation": "gelu_tanh" if s["activation"] == "silu" else "silu"},
               "query scale": {"query_scale": s["E"] ** -0.5 if s["query_scale"] != s["E"] ** -0.5 else 1.0}}
    if s["activation"] == "gelu_tanh":
        changes["gelu's tanh form"] = {"activation": "gelu_erf"}
    for what, key, off in (("norm offset", "norm_offset", 0.0), ("embedding scale", "embed_scale", 1.0),
                           ("attention cap", "attn_cap", None), ("final cap", "final_cap", None),
                           ("residual scale", "residual_scale", 1.0), ("logit scale", "logit_scale", 1.0),
                           ("norms of queries and keys", "qk_norm", None), ("biases", "biases", False)):
        if s[key] != off:
            changes[what] = {key: off}
    if any(s["windows"]):
        changes |= {"windows": {"windows": [None] * s["N"]},
                    "the token in its window": {"windows": [w and w + 1 for w in s["windows"]]}}
        if not all(s["windows"]):
            changes["blocks with no window"] = {"windows": [max(w or 0 for w in s["windows"])] * s["N"]}
    for what, change in changes.items():
        other, seen = Oracle(directory, change), 0.0
        for case, data in cases:
            losses, _ = measure(other, case, data, tensors[case["name"] + ".v"].double())
            seen = max(seen, relative(losses, case["losses64"]))
        print(f"  without {what:25} losses change by {seen:.1e}")
        if not seen > {"norm eps": 1e-7, "gelu's tanh form": 2e-5}.get(what, 1e-3):
            sys.exit(f"{name}: forgetting {what} would not be seen")


def make_traces(name, oracle, by_name, traces, trace):
    D = oracle.s["D"]
    for case, length, max_norm in TRACES_OF:
        start = normal(D, length, name, case, "start")
        trace(run(case + "-free", case), start)
        trace(capped_settings(oracle, *by_name[case], start, max_norm), start)
    start = normal(D, 1.0, name, "promote", "start")
    target, steps = target_between(traces[0]["loss64"])
    assert trace(run("promote-target", "promote", target_loss=target), start)["steps"] == steps
    trace(plateau_settings(name, oracle, by_name, start), start)
    assert traces[-1]["stopped"] == "plateau"


def one_trace(name, oracle, by_name):
    """(case, start vector) of the one trace of a model with few cases."""
    for case, length in ONE_TRACE_OF:
        start = normal(oracle.s["D"], length, name, case, "start")
        if moving(train(oracle, *by_name[case], start, run(case + "-free", case))["loss"]):
            return case, start
    sys.exit(f"{name}: no case gives a moving trace")


def make_model(name):
    print(name)
    directory, out = os.path.join(HERE, "models", name), os.path.join(HERE, "cases", name)
    write_model(name, directory)
    hf, hf64, oracle = Transformers(directory), TransformersDouble(directory), Oracle(directory)
    cases, tensors, limits, traces = make_cases(name, oracle), {}, Limits(), []
    full = MODELS[name].get("full", False)
    if not full:
        cases = [(case, data) for case, data in cases if case["name"] in FEW]
    for case, data in cases:
        make_case(name, case, data, hf, hf64, oracle, tensors, limits)
    by_name = {case["name"]: (case, data) for case, data in cases}

    def trace(settings, start):
        case, data = by_name[settings["case"]]
        traces.append(make_trace(name, settings, case, data, start, hf, oracle, tensors, limits))
        return traces[-1]

    if full:
        make_traces(name, oracle, by_name, traces, trace)
    else:
        case, start = one_trace(name, oracle, by_name)
        trace(run(case + "-free", case), start)

    limits.report()
    check_features(name, directory, oracle, cases, tensors)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for case, data in cases:
        with open(os.path.join(out, case["data"]), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(point) + "\n" for point in data)
    with open(os.path.join(out, "cases.json"), "w", encoding="utf-8") as f:
        f.write(dump({"format": "osv-golden/1", "model": name, "cases": [c for c, _ in cases],
                      "traces": traces}))
    tensors = {key: t.contiguous() for key, t in sorted(tensors.items())}
    write_tensors(os.path.join(out, "cases.safetensors"), tensors)


def check_helpers():
    """What everything above rests on: the position grammar's examples, and Adam against torch's."""
    assert positions("all", 3, 5) == [0, 1, 2, 3, 4] and positions("prompt", 3, 5) == [0, 1, 2]
    assert positions("completion", 3, 5) == [3, 4] and positions("prompt:-2:", 3, 5) == [1, 2]
    assert positions("all:3:9", 3, 5) == [3, 4] and positions("prompt:-1", 3, 5) == [2]
    assert positions("all:-3:", 3, 5) == [2, 3, 4] and positions("completion:1:", 3, 5) == [4]
    ours = torch.ones(3, dtype=torch.float64)
    theirs = torch.ones(3, dtype=torch.float64, requires_grad=True)
    a, b = Adam(ours, 0.1, (0.9, 0.999), 1e-8), torch.optim.Adam([theirs], 0.1, foreach=False)
    for i in range(20):
        g = torch.tensor([1.0, -3.0, 0.01], dtype=torch.float64) * (1 + 0.3 * i) * (-1) ** (i // 5)
        theirs.grad = g.clone()
        b.step()
        ours = a.step(ours, g)
    assert relative(ours, theirs.detach()) < 1e-13


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    check_helpers()
    for model in sys.argv[1:] or MODELS:
        make_model(model)

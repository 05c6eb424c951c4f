"""Make parity/: see README.md. Usage: make_parity_golden.py [model ...]"""
import itertools
import os
import sys

import numpy as np
import torch

from golden_common import Limits, as32, dump, relative
from golden_hf import Transformers, TransformersDouble
from golden_models import write_tensors
from golden_oracle import Oracle
from golden_parity_cases import make_cases
from golden_reference import QUIRKS, measure, run
from make_form_golden import HERE, MODELS, start_of


def set_targets(case, shares, oracle, start):
    losses = measure(oracle, case, start.double(), ()).tolist()
    for c, loss, share in zip(case["completions"], losses, shares or []):
        c["target"] = round(share * loss, 3)
    if case["target_loss"] is not None:
        case["target_loss"] = round(case["target_loss"] * sum(losses), 3)


def choose_eps(case, shares, oracle, start):
    """A learning rate and an eps at which small changes of the loss end the training that have larger ones between them.
    None is so near to eps that rounding could decide."""
    for lr, eps in itertools.product((0.2, 0.4, 0.8), (0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.018, 0.027)):
        case.update(lr=lr, eps=eps)
        set_targets(case, shares, oracle, start)
        as_it_is, in_a_row = (run(oracle, case, start, quirks) for quirks in (QUIRKS, ()))
        change = np.abs(np.diff([sum(losses) for losses in as_it_is["losses"]]))
        if as_it_is["stopped"] == "plateau" and len(in_a_row["losses"]) > len(as_it_is["losses"]) > 6 and \
                (np.abs(change - eps) > 0.1 * eps).all():
            return
    sys.exit(f"{case['name']}: no eps shows the plateau rule")


def distance(a, b):
    """Of two runs."""
    if len(a["losses"]) != len(b["losses"]) or a["stopped"] != b["stopped"]:
        return 1.0
    worst = max(relative(x, y) for x, y in [*zip(a["losses"], b["losses"]), (a["rows"], b["rows"])])
    return max(worst, distance(a["second"], b["second"])) if "second" in a else worst


def make_case(name, case, shares, shows, models, tensors, limits):
    """Fills in what the reference would do, in fp32."""
    hf, hf64, oracle = models
    where, key = f"{name}/{case['name']}", case["name"] + "."
    start = start_of(name, {**case, "name": "parity-" + case["name"]}, oracle)
    set_targets(case, shares, oracle, start)
    if case["plateau_iters"] > 0:
        choose_eps(case, shares, oracle, start)
    result, exact = run(hf, case, start), run(oracle, case, start)
    limits.check("a trace, fp32 - oracle", distance(result, exact), 1e-4, where)
    limits.check("a trace, transformers in fp64 - oracle", distance(run(hf64, case, start), exact), 1e-9, where)
    seen = [q for q in QUIRKS if distance(run(oracle, case, start, [x for x in QUIRKS if x != q]), exact) > 1e-3]
    if sorted(seen) != sorted(shows):
        sys.exit(f"{where}: of the quirks {seen} show, not {shows}")
    tensors.update({key + "start": start, key + "final": result["rows"]})
    second = result.get("second", {})
    if second.get("stopped", "norm") != "norm":
        sys.exit(f"{where}: the second phase has no end")
    case.update(losses=as32(result["losses"]), norm=as32(result["norm"]), stopped=result["stopped"],
                second={what: as32(second[what]) for what in second if what != "rows"})


def make_model(name):
    print(name)
    directory, out = os.path.join(HERE, "models", name), os.path.join(HERE, "parity", name)
    models = Transformers(directory), TransformersDouble(directory), Oracle(directory)
    tensors, limits, cases = {}, Limits(), make_cases(name, models[-1])
    for case, shares, shows in cases:
        make_case(name, case, shares, shows, models, tensors, limits)
    limits.report()
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "cases.json"), "w", encoding="utf-8") as f:
        f.write(dump({"format": "osv-golden-parity/1", "model": name, "cases": [case for case, _, _ in cases]}))
    write_tensors(os.path.join(out, "cases.safetensors"), {key: t.contiguous() for key, t in sorted(tensors.items())})


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model in sys.argv[1:] or MODELS:
        make_model(model)

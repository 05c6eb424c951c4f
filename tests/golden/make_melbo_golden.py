"""Make melbo/: see README.md. Usage: make_melbo_golden.py [model ...]"""
import sys

import torch

from golden_common import normal, relative
from golden_form_cases import PLAIN, Maker
from golden_melbo import orthogonal
from golden_shorten import train
from make_form_golden import fill_in, main, start_of

DIRECTIONS = 3  # that the case "orthogonal" keeps away from


def table(N):
    """(name, completions, positions, settings that are not plain)."""
    top = N - 1
    return [
        ("prompts", prompts, "all", {"layers": [0], "target_layer": top}),
        ("completions", texts, "prompt", {"layers": [0], "target_layer": 1}),
        ("frozen", texts, "completion", {"layers": [1], "target_layer": top}),
        ("power", prompts, "prompt:-3:", {"layers": [0], "target_layer": top, "power": 3.0, "apply": "clamp:1.5"}),
        ("shared", texts, "all", {"layers": [0, 1], "target_layer": 2}),
        ("affine-apart", prompts, "all", {"layers": [0, 1], "target_layer": 2, "power": 2.0, "apart": True,
                                          "apply": "affine", "rank": 1}),
        ("satisfice", targets, "all", {"layers": [1], "target_layer": top, "satisfice": True, "lr": 0.05}),
        ("mixed", mixed, "all", {"layers": [1], "target_layer": top, "coldness": 0.7}),
        ("orthogonal", prompts, "all", {"layers": [0], "target_layer": top, "max_norm": 4.0, "orthogonal": DIRECTIONS}),
    ]


def away(maker, prompt, count, where, sign=1, **goal):
    return maker.make(prompt, maker.ids(count), "melbo", where, sign, **goal)


def prompts(maker, where):
    p = maker.ids(8)
    return [away(maker, p, 0, where), away(maker, p[:5], 0, where), away(maker, maker.ids(6), 0, where, -1)]


def texts(maker, where):
    p = maker.ids(6)
    return [away(maker, p, 3, where), away(maker, p, 1, where), away(maker, maker.ids(7), 4, where, -1)]


def targets(maker, where):
    p = maker.ids(6)
    return [away(maker, p, 2, where, target=-3.0), away(maker, maker.ids(5), 0, where, target=-9.0, weight=0.5)]


def mixed(maker, where):
    p = maker.ids(6)
    return [away(maker, p, 0, where, weight=0.5), maker.make(p, maker.ids(2), "promote", where)]


def make_cases(name, oracle):
    out = []
    for case_name, completions, where, settings in table(oracle.s["N"]):
        case = {"name": case_name, **PLAIN, "target_layer": None, "power": 1.0, "orthogonal": 0, **settings}
        maker = Maker(name, case_name, oracle)
        case["completions"] = [{**c, **({k: case[k] for k in ("target_layer", "power")} if c["kind"] == "melbo" else {})}
                               for c in completions(maker, where)]
        out.append(case)
    return out


def forgotten(case, N):
    """The case with one thing left out or changed: (what, case)."""
    def each(what, change):
        return what, {**case, "completions": [change(c) for c in case["completions"]]}

    def of(c, **keys):
        return {**c, **keys} if c["kind"] == "melbo" else c

    def shorter(c):
        return of(c, completion=c["completion"][:-1], steer=c["steer"][:-1]) if c["completion"] else c

    for l in range(case["layers"][-1] + 1, N):
        if l != case["target_layer"]:
            yield each("the block", lambda c, l=l: of(c, target_layer=l))
    yield each("the power", lambda c: of(c, power=case["power"] + 0.5))
    if any(c["completion"] for c in case["completions"] if c["kind"] == "melbo"):
        yield each("a completion's last token", shorter)
    if any(-1 in c["steer"] for c in case["completions"]):
        yield each("signs", lambda c: {**c, "steer": [abs(s) for s in c["steer"]]})
    if case["satisfice"]:
        yield "the square", {**case, "satisfice": False}


def check_orthogonal(where, case, start, trace, oracle):
    cosines = torch.cosine_similarity(trace["final"], case["orthogonal_to"].double())
    if not abs(cosines).max() < 1e-12:
        sys.exit(f"{where}: not orthogonal")
    free = {k: v for k, v in case.items() if k != "orthogonal_to"}
    if not relative(train(oracle, free, start)["final"], trace["final"]) > 1e-3:
        sys.exit(f"{where}: forgetting the others would not be seen")


def make_case(name, case, models, tensors, limits):
    oracle = models[-1]
    where = f"{name}/{case['name']}"
    start = start_of(name, case, oracle)
    if case["orthogonal"]:
        case["orthogonal_to"] = torch.stack([normal(oracle.s["D"], 1.0 + i, name, "melbo", i)
                                             for i in range(case["orthogonal"])])
        tensors[case["name"] + ".orthogonal"] = case["orthogonal_to"]
        start = orthogonal(start[0].double(), case["orthogonal_to"]).float()[None]
    changed = ((what, other, start.double()) for what, other in forgotten(case, oracle.s["N"]))
    trace = fill_in(where, case, start, changed, models, tensors, limits)
    if case["orthogonal"]:
        check_orthogonal(where, case, start, trace, oracle)
        del case["orthogonal_to"]


if __name__ == "__main__":
    main("melbo", make_cases, make_case)

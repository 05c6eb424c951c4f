"""The table of parity/: what the reference implementation can train, each of its quirks seen at least once."""
from golden_form_cases import Maker

PLAIN = {"apply": "add", "rank": 0, "offset": False, "layers": None, "apart": False, "coldness": 0.7, "eps": 1e-6,
         "length_norm": False, "satisfice": False, "target_loss": None, "target_rule": "sum", "target_iters": 1,
         "plateau_iters": 0, "lr": 0.1, "adam_eps": 1e-8, "schedule": "constant", "warmup": 0, "max_iters": 11,
         "max_norm": None, "max_affine_norm": None, "second_lr": None, "second_iters": 40}


def table(N):
    """(name, quirks that must show, completions, positions, settings that are not plain). Targets are shares of the losses
    at the start: `target_loss` of their sum, `targets` of each."""
    one, two, three = [1], [0, N - 1], [0, 1, N - 1]
    affine = {"apply": "affine", "rank": 2, "max_affine_norm": 1.2}
    each, second = {"target_rule": "each"}, {"second_lr": 0.1, "eps": 0.02}
    long = {"max_iters": 40}
    end, after, constant = "extra-step", "step-after-target", "constant-norm"
    return [
        ("add", [end], "one_minus", "all", {"layers": one}),
        ("add-lengths-capped", [end], "lengths", "all:2:", {"layers": one, "length_norm": True, "max_norm": 2.0}),
        ("add-shared", [end, "cut"], "promote", "all", {"layers": two}),
        ("add-shared-prompt", [end, "cut"], "one_minus", "prompt", {"layers": two}),
        ("add-target", [after], "promote", "all", {"layers": one, **long, "target_loss": 0.8}),
        ("add-target-each", [after], "promote", "prompt", {"layers": one, **long, **each, "targets": [0.8, 0.9, 0.85],
                                                          "target_loss": 0.5, "target_iters": 2}),
        # A single loss, which swings about its target.
        ("add-plateau", ["plateau-total"], "one", "all", {"layers": one, **long, "satisfice": True, "targets": [0.9],
                                                         "plateau_iters": 3}),
        ("add-satisfice", [end], "promote", "all", {"layers": one, **each, "satisfice": True, "lr": 0.03,
                                                   "targets": [0.6, 1.1, 0.8], "target_loss": 0.5}),
        ("clamp", [end, constant], "promote", "all", {"layers": one, "apply": "clamp:1"}),
        ("clamp-shared", [end, constant, "cut"], "one_minus", "all:1:", {"layers": three, "apply": "clamp:1.5"}),
        ("affine", [end], "one_minus", "all", {"layers": one, **affine, "max_norm": 0.0}),
        ("affine-shared", [end, "cut"], "promote", "prompt:2:", {"layers": two, **affine}),
        ("second-add", [after], "promote", "all", {"layers": one, **long, "target_loss": 0.8, **second}),
        ("second-clamp", [end, constant], "one_minus", "prompt", {"layers": one, "apply": "clamp:1", **each, **second, "second_lr": 0.05,
                                                                "targets": [0.1, 0.1, 0.6], "target_loss": 0.1}),
        ("second-affine", [after, "mixed-pair"], "promote", "all", {"layers": one, **affine, **long,
                                                                   "target_loss": 0.7, **second}),
    ]


def make_cases(name, oracle):
    """(case, shares of the targets of its completions or None, quirks that must show)"""
    out = []
    for case_name, shows, completions, where, settings in table(oracle.s["N"]):
        maker = Maker(name, "parity-" + case_name, oracle)
        case = {"name": case_name, **PLAIN, **settings, "completions": getattr(maker, completions)(where)}
        out.append((case, case.pop("targets", None), shows))
    return out

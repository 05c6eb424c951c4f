"""The table of forms/: every form with at least one loss, every loss with at least one form, at one block and at
several, and the numbers that a case is given."""
import torch

from golden_models import rng
from golden_train import positions

PLAIN = {"apply": "add", "rank": 0, "offset": False, "layers": None, "apart": False, "coldness": 1.0, "eps": 1e-6,
         "length_norm": False, "satisfice": False, "target_loss": None, "l1": 0.0, "group": 0.0,
         "bound_lr": 0.1, "min_norm_iters": 0, "min_norm_lr": None,
         "lr": 0.1, "adam_eps": 1e-8,
         "schedule": "constant", "warmup": 0, "max_iters": 20, "max_norm": None, "max_affine_norm": None}


class Maker:
    """Completions of one case, drawn from a generator of its own."""

    def __init__(self, model_name, case_name, oracle):
        self.oracle, self.V = oracle, oracle.s["V"]
        self.random = rng(model_name, "forms", case_name)

    def ids(self, count):
        return [int(t) for t in self.random.integers(3, self.V, count)]

    def greedy(self, prompt, count):
        """What the unsteered model would say: an unlikely token has 1 - P = 1 and nothing to learn."""
        out = list(prompt)
        for _ in range(count):
            out.append(int(self.oracle.logits(out)[-1].argmax()))
        return out[len(prompt):]

    def make(self, prompt, completion, kind="promote", where="all", sign=1, **goal):
        total = len(prompt) + len(completion)
        steer = [0] * total
        for t in positions(where, len(prompt), total):
            steer[t] = sign
        return {"prompt": prompt, "completion": completion, "kind": kind, "steer": steer, **goal}

    def suppress(self, prompt, count, kind="one-minus", **more):
        return self.make(prompt, self.greedy(prompt, count), kind, **more)

    # ---- sets of completions ----

    def one(self, where="all"):
        return [self.make(self.ids(6), self.ids(3), where=where)]

    def promote(self, where="all"):
        p, q = self.ids(7), self.ids(5)
        return [self.make(p, self.ids(3), where=where), self.make(p, self.ids(2), where=where),
                self.make(q, self.ids(2), where=where, sign=-1)]

    def one_minus(self, where="all"):
        p, q = self.ids(6), self.ids(8)
        return [self.suppress(p, 4, where=where), self.suppress(q, 2, where=where, sign=-1),
                self.make(p, self.ids(2), where=where)]

    def negated(self, where="all"):
        p = self.ids(8)
        return [self.suppress(p, 3, kind="negated", where=where), self.make(p, self.ids(3), where=where),
                self.suppress(p[:5], 2, kind="negated", where=where, sign=-1)]

    def weighted(self, where="all"):
        p, q = self.ids(6), self.ids(6)
        return [self.make(p, self.ids(3), where=where, weight=0.25),
                self.suppress(p, 3, where=where, weight=2.0),
                self.suppress(q, 2, kind="negated", where=where, sign=-1, weight=1.5)]

    def lengths(self, where="all"):
        p = self.ids(6)
        return [self.make(p, self.ids(n), where=where) for n in (1, 3, 6)] + [self.suppress(p, 2, where=where)]

    def targets(self, where="all"):
        """One to be reached from above, one from below, one without a target of its own."""
        p, q = self.ids(7), self.ids(5)
        return [self.make(p, self.ids(2), where=where, target=7.0),
                self.make(p, self.greedy(p, 2), where=where, target=9.5),
                self.make(q, self.ids(2), where=where, sign=-1, weight=0.5)]

    def distributions(self, where="all"):
        """Those of the model under another vector, in both directions; one has tokens that cannot occur."""
        p, q, layer = self.ids(6), self.ids(7), self.oracle.s["N"] - 1
        out = []
        for prompt, kind in ((p, "match"), (p, "match-reverse"), (q, "match")):
            c = self.make(prompt, self.greedy(prompt, 2), kind, where=where)
            push = torch.from_numpy(self.random.standard_normal(self.oracle.s["D"]))
            rows = self.oracle.logits(prompt + c["completion"], {layer: lambda x: x + push})[len(prompt) - 1:-1]
            if prompt is q:
                rows = torch.where(rows >= rows.topk(20).values[:, -1:], rows, -torch.inf)
            out.append({**c, "target_logits": rows.float()})
        return out + [self.make(p, self.ids(2), where=where, weight=0.1)]

    def anchor(self, weight, **goal):
        """Neutral text on which the distributions are to stay what they are without a vector."""
        return self.make(self.ids(1), self.ids(5), "anchor", weight=weight, **goal)

    def anchored_bound(self, where="all"):
        """One divergence is held from above, one loss that is below its bound stays there."""
        p = self.ids(7)
        return [self.make(p, self.ids(3), where=where), self.make(p, self.ids(2), where=where, bound=13.0),
                self.anchor(2.0, bound=0.05)]

    def anchored(self, where="all"):
        return self.promote(where) + [self.anchor(8.0)]

    def anchored_targets(self, where="all"):
        return self.targets(where) + [self.anchor(20.0)]

    def pairs(self, where="all"):
        """Chosen and rejected under two prompts; the references are filled in by whoever knows the losses."""
        p, q = self.ids(7), self.ids(6)
        out = []
        for prompt, beta, sign, weight in ((p, 0.4, 1, 1.0), (q, 0.2, -1, 3.0)):
            first = len(out)
            out.append(self.make(prompt, self.ids(3), where=where, sign=sign, weight=weight, beta=beta,
                                 partner=first + 1))
            out.append(self.make(prompt, self.greedy(prompt, 2), where=where, sign=sign, weight=weight, beta=-beta,
                                 partner=first))
        return out

    def drawn_pairs(self, where="all"):
        """One pair, in each step under the vector or, turned round, under minus the vector."""
        p, chosen = self.ids(7), self.ids(3)
        rejected, out = self.greedy(p, 2), []
        for sign in (1, -1):
            first = len(out)
            for completion, beta, partner in ((chosen, 0.4, first + 1), (rejected, -0.4, first)):
                out.append(self.make(p, completion, where=where, sign=sign, beta=sign * beta, partner=partner))
                out[-1]["sign"] = sign
        return out


def table(N):
    """(name, completions, positions, settings that are not plain)."""
    one, two, all_blocks = [1], [0, N - 1], list(range(N))
    affine1, affine3 = {"apply": "affine", "rank": 1}, {"apply": "affine", "rank": 3}
    apart = {"apart": True}
    short = {"eps": 0.02, "min_norm_iters": 32}
    return [
        ("add-weighted", "weighted", "all", {"layers": one, "coldness": 0.7}),
        ("add-negated-shared", "negated", "prompt", {"layers": two, "schedule": "linear"}),
        ("add-lengths", "lengths", "all", {"layers": [N - 1], "length_norm": True}),
        ("add-targets-apart", "targets", "prompt:-3:", {"layers": two, **apart, "satisfice": True, "lr": 0.03}),
        ("add-distributions", "distributions", "prompt", {"layers": one, "coldness": 0.8}),
        ("add-pairs-shared", "pairs", "all", {"layers": [1, 2], "max_norm": 2.5}),
        ("norm-promote", "promote", "all", {"layers": one, "apply": "add-norm"}),
        ("norm-one-minus-shared", "one_minus", "all:2:-1", {"layers": two, "apply": "add-norm", "coldness": 0.7}),
        ("norm-pairs-apart", "pairs", "prompt", {"layers": [1, 2], "apply": "add-norm", **apart}),
        ("clamp-promote", "promote", "all", {"layers": one, "apply": "clamp"}),
        ("clamp-one-minus", "one_minus", "prompt:2:", {"layers": [0], "apply": "clamp:-0.7", "eps": 0.02}),
        ("clamp-targets-shared", "targets", "all", {"layers": all_blocks, "apply": "clamp", "satisfice": True,
                                                   "lr": 0.03}),
        ("clamp-distributions-apart", "distributions", "all:1:", {"layers": two, "apply": "clamp:0.5", **apart}),
        ("clamp-weighted-capped", "weighted", "prompt", {"layers": one, "apply": "clamp:1.5", "max_norm": 2.0}),
        ("offset-negated", "negated", "all", {"layers": one, "apply": "clamp", "offset": True}),
        ("offset-one-minus-apart", "one_minus", "prompt:-3:", {"layers": [1, 2], "apply": "clamp:0", "offset": True,
                                                              **apart}),
        ("offset-lengths-shared", "lengths", "all", {"layers": two, "apply": "clamp:-1.2", "offset": True,
                                                    "length_norm": True}),
        ("ablate-promote", "promote", "all", {"layers": one, "apply": "ablate"}),
        ("ablate-pairs-shared", "pairs", "all:1:", {"layers": all_blocks, "apply": "ablate"}),
        ("affine1-promote", "promote", "all", {"layers": one, **affine1, "max_norm": 0.0, "max_affine_norm": 1.5}),
        ("affine3-one-minus", "one_minus", "prompt:1:", {"layers": one, **affine3, "schedule": "cosine",
                                                        "warmup": 5}),
        ("affine1-lengths-shared", "lengths", "all", {"layers": two, **affine1, "length_norm": True}),
        ("affine3-distributions-apart", "distributions", "prompt", {"layers": two, **affine3, **apart, "lr": 0.03}),
        ("affine1-targets", "targets", "all", {"layers": [N - 1], **affine1, "satisfice": True, "max_norm": 2.0,
                                               "lr": 0.03}),
        ("add-anchored", "anchored", "all", {"layers": one, "coldness": 0.8}),
        ("clamp-anchored-shared", "anchored_targets", "prompt", {"layers": [0, 1], "apply": "clamp:0.8",
                                                                "satisfice": True, "lr": 0.03}),
        ("add-bounded", "anchored_bound", "all", {"layers": one, "coldness": 0.8}),
        ("affine1-bounded-shared", "anchored_bound", "prompt", {"layers": [1, 2], **affine1, "bound_lr": 0.2, "lr": 0.03}),
        ("add-short-apart", "promote", "all", {"layers": [1, 2], **apart, **short}),
        ("clamp-short-shared", "promote", "prompt", {"layers": two, "apply": "clamp:0.8", **short, "target_loss": 12.0}),
        ("affine1-short", "promote", "all", {"layers": one, **affine1, **short}),
        ("add-drawn-pairs", "drawn_pairs", "all", {"layers": one}),
        ("clamp-drawn-pairs-shared", "drawn_pairs", "prompt", {"layers": two, "apply": "clamp"}),
        ("add-sparse-apart", "promote", "all", {"layers": all_blocks, **apart, "l1": 0.05, "group": 0.1}),
        ("affine1-sparse", "one_minus", "all", {"layers": one, **affine1, "l1": 0.02, "group": 0.2}),
        ("affine3-weighted-shared", "weighted", "completion", {"layers": [1, 2], **affine3}),
    ]


def make_cases(name, oracle):
    out = []
    for case_name, completions, where, settings in table(oracle.s["N"]):
        maker = Maker(name, case_name, oracle)
        case = {"name": case_name, **PLAIN, **settings, "completions": getattr(maker, completions)(where)}
        if case["satisfice"]:
            case["target_loss"] = 8.0
        out.append(case)
    return out

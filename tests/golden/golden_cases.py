"""Datapoints and settings of the cases, and the training runs made from some of them."""
import torch

from golden_models import rng


def ids(tokens):
    return {"ids": [int(t) for t in tokens]}


# |v| as a share of a typical row of the residual stream where v is added; cases with a share of their own.
SHARE, SHARE_OF = 0.5, {"suppress-sure": 0.1}


def sure_coldness(oracle, prompt, completion):
    """The smallest coldness of a list at which one token of the completion has 1 - P < 1e-3."""
    rows = oracle.logits(prompt + completion)[len(prompt) - 1:-1]
    for coldness in (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0):
        p = torch.softmax(coldness * rows, -1)[range(len(completion)), completion]
        if (1 - p).min() < 1e-3:
            return coldness
    raise ValueError("no token of the completion is likely enough")


def make_cases(name, oracle):
    """A list of (case settings, datapoints). Suppressed completions are what the unsteered model would say,
    because an unlikely token has 1 - P = 1 and nothing to learn."""
    V, N = oracle.s["V"], oracle.s["N"]
    first, middle, last = 0, N // 2, N - 1
    cases = []

    def greedy(prompt, count):
        out = list(prompt)
        for _ in range(count):
            out.append(int(oracle.logits(out)[-1].argmax()))
        return out[len(prompt):]

    def add(case, layer, data, coldness=1.0, eps=1e-6):
        settings = {"name": case, "data": case + ".jsonl", "layer": layer, "coldness": coldness, "eps": eps}
        cases.append((settings, data))

    def draw(case):
        r = rng(name, case)
        return lambda count: [int(t) for t in r.integers(3, V, count)]

    r = draw("promote")
    add("promote", middle, [{"prompt": ids(r(9)), "promote": [ids(r(4))]}])

    r = draw("suppress")
    p = r(8)
    add("suppress", middle, [{"prompt": ids(p), "suppress": [ids(greedy(p, 5))]}], coldness=0.7)

    # P so close to 1 that 1 - P must not be a subtraction.
    r = draw("suppress-sure")
    p = r(7)
    g = greedy(p, 3)
    add("suppress-sure", last, [{"prompt": ids(p), "suppress": [ids(g)]}],
        coldness=sure_coldness(oracle, p, g))

    # Completions that agree in their first tokens, also across promote and suppress.
    r = draw("mixed")
    p = r(7)
    g, a = greedy(p, 4), r(5)
    add("mixed", first, [{"id": "mixed", "prompt": ids(p),
                          "promote": [ids(a[:4]), ids(a[:2] + r(1)), ids([g[0]] + r(2))],
                          "suppress": [ids(g), ids(g[:2] + r(1))]}], coldness=0.7)

    # Prompts that are prefixes of each other; a completion that runs along another datapoint's prompt.
    r = draw("shared-prefix")
    p = r(10)
    b = p[:8] + r(2)
    add("shared-prefix", middle, [{"prompt": ids(p), "promote": [ids(r(3))]},
                                  {"prompt": ids(p[:6]), "suppress": [ids(greedy(p[:6], 3))],
                                   "promote": [ids(p[6:9])]},
                                  {"prompt": ids(b), "promote": [ids(r(2))]},
                                  {"prompt": ids(p), "suppress": [ids(greedy(p, 2))]}])

    r = draw("negative")
    p, q = r(6), r(8)
    add("negative", middle, [{"prompt": ids(p), "promote": [ids(r(3))]},
                             {"prompt": ids(p), "suppress": [ids(greedy(p, 2))], "negative": True},
                             {"prompt": ids(q), "promote": [ids(r(2))], "negative": True}])

    for case, where, layer in (("pos-prompt", "prompt", last), ("pos-completion", "completion", middle),
                               ("pos-prompt-tail", "prompt:-3:", first), ("pos-slice", "all:2:5", first),
                               ("pos-one", "prompt:-1", middle), ("pos-all-tail", "all:-6:", middle)):
        r = draw(case)
        p = r(8)
        g, a = greedy(p, 3), r(5)
        # With `completion` the one-token completion cannot depend on v: a constant in the sum.
        add(case, layer, [{"prompt": ids(p), "promote": [ids(a), ids(a[:1]), ids(a[:3] + r(1))],
                           "suppress": [ids(g)], "positions": where}])

    # One prompt, steered at other positions by each datapoint.
    r = draw("pos-each")
    p = r(9)
    add("pos-each", middle, [{"prompt": ids(p), "promote": [ids(r(3))], "positions": "prompt:2:-1"},
                             {"prompt": ids(p), "promote": [ids(r(2))], "positions": "all"},
                             {"prompt": ids(p), "suppress": [ids(greedy(p, 2))], "positions": "prompt:2:4",
                              "negative": True},
                             {"prompt": ids(p), "promote": [ids(r(4))], "positions": "completion:1:"},
                             {"prompt": ids(p), "suppress": [ids(greedy(p, 3))], "positions": "prompt:-1"}])

    r = draw("one-token")
    p, q = r(6), r(1)
    add("one-token", last, [{"prompt": ids(p), "promote": [ids(r(1)), ids(r(1))]},
                            {"prompt": ids(q), "promote": [ids(r(1))], "suppress": [ids(greedy(q, 1))]}])

    r = draw("twice")
    p, a = r(7), r(3)
    g = greedy(p, 2)
    add("twice", middle, [{"prompt": ids(p), "promote": [ids(a), ids(a)], "suppress": [ids(g), ids(g)]}])

    # Longer than every window and than rope's original context.
    r = draw("long")
    p = r(42)
    add("long", middle, [{"prompt": ids(p), "promote": [ids(r(6))], "suppress": [ids(greedy(p, 4))]}])

    # An eps that shows, with the reference's names of the keys.
    r = draw("eps")
    p = r(6)
    add("eps", middle, [{"prompt": ids(p), "dst_completions": [ids(r(3))],
                         "src_completions": [ids(greedy(p, 3))]}], coldness=1.3, eps=0.05)
    return cases


# The models of single features have these cases only, and one trace.
FEW = ("mixed", "shared-prefix", "negative", "pos-slice", "long")

LOGITS_OF = ("mixed", "shared-prefix", "long")

# (case, norm of the start vector, max_norm of the capped run)
TRACES_OF = (("promote", 1.0, 2.5), ("mixed", 3.0, 2.0), ("shared-prefix", 1.0, 2.0))

# Of the models with few cases: the first that does not come to a turning point.
# (case, norm of the start vector)
ONE_TRACE_OF = (("mixed", 3.0), ("shared-prefix", 1.0), ("negative", 1.0))

# model: (case, lr, max_norm, whether a lone small change comes before the plateau)
PLATEAU_OF = {"llama-tiny": ("pos-prompt-tail", 0.1, 1.5, True),
              "llama-bf16": ("pos-prompt-tail", 0.1, 2.0, True),
              "gemma2-tiny": ("promote", 0.3, 6.0, False),
              "gemma2-f16": ("pos-one", 0.3, 6.0, False)}


def run(name, case, **changes):
    """A trace's settings; the keys are those of cases.json."""
    return {"name": name, "case": case, "lr": 0.1, "betas": [0.9, 0.999], "adam_eps": 1e-8, "max_norm": None,
            "max_iters": 20, "target_loss": None, "plateau_eps": None, "plateau_iters": None, **changes}

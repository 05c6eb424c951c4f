"""What the makers of golden data share: distances, limits, random vectors, how numbers are written."""
import json
import sys

import numpy as np
import torch

from golden_models import rng


def relative(a, b):
    """Norm of the difference over the norm of b, in fp64."""
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return ((a - b).norm() / b.norm()).item()


class Limits:
    """The worst of every agreement that was measured; a limit that does not hold ends the script."""

    def __init__(self):
        self.worst = {}

    def check(self, what, value, limit, where):
        if not value <= limit:
            sys.exit(f"{where}: {what} is {value:.3g}, allowed is {limit:.3g}")
        if value >= self.worst.get(what, (-1.0,))[0]:
            self.worst[what] = (value, limit, where)

    def report(self):
        for what, (value, limit, where) in self.worst.items():
            print(f"  {what:36} {value:9.2e} (limit {limit:.0e}; {where})")


def as32(x):
    """fp32 numbers as the shortest decimals that read back to them."""
    return json.loads(json.dumps(x), parse_float=lambda text: float(str(np.float32(text))))


def normal(size, length, *names):
    """A random fp32 direction of the given length."""
    v = torch.from_numpy(rng(*names).standard_normal(size))
    return (v / v.norm() * length).float()


def dump(value):
    """JSON with a line a key, also of the objects in the long lists: readable, and diffs stay small."""
    def entry(e):
        return "  {" + ",\n   ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in e.items()) + "}"
    long = [k for k in ("cases", "traces") if k in value]
    head = "".join(f" {json.dumps(k)}: {json.dumps(v)},\n" for k, v in value.items() if k not in long)
    lists = ",\n".join(f' "{k}": [\n' + ",\n".join(map(entry, value[k])) + "\n ]" for k in long)
    return "{\n" + head + lists + "\n}\n"

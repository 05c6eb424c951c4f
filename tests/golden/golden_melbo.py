"""MELBO (Mack & Turner 2024): how far the residual stream goes from where it is without parameters, and vectors that
stay orthogonal to others. For any model with `logits(ids, edits)`."""
import torch


def stream(model, ids, edits, layer):
    """What enters block `layer`, [T, D]."""
    seen = []

    def look(x):
        seen.append(x)
        return x

    model.logits(ids, {**edits, layer: look})
    return seen[0]


def distance_loss(model, c, edits):
    """Minus the mean of |x - x0|^power over positions, from the last one of the prompt on."""
    ids = c["prompt"] + c["completion"]
    moved = stream(model, ids, edits, c["target_layer"]) - stream(model, ids, {}, c["target_layer"])
    square = (moved * moved).sum(-1)[len(c["prompt"]) - 1:]
    far = torch.zeros_like(square)
    some = square != 0  # the root has no gradient at 0
    far[some] = square[some] ** (c["power"] / 2)
    return -far.mean()


def orthogonal(row, others):
    """The row without its part in the span of `others` [k, D]."""
    basis = torch.linalg.qr(others.to(row.dtype).T).Q
    return row - basis @ (basis.T @ row)

"""A small Llama in plain PyTorch; parameter names and layouts are those of transformers: exporting is copying."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    V: int              # vocabulary
    D: int = 128        # model width
    F: int = 384        # ffn width
    N: int = 6          # blocks
    H: int = 4          # query heads
    K: int = 2          # kv heads
    E: int = 64         # head dim; H * E = 256 is not D
    rope_theta: float = 10000.0
    eps: float = 1e-5
    positions: int = 256


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rotate(x, cos, sin):
    """Rope on x [B, heads, T, E]; the two halves of a head are the real and imaginary parts."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.D, s.H * s.E, bias=False)
        self.k_proj = nn.Linear(s.D, s.K * s.E, bias=False)
        self.v_proj = nn.Linear(s.D, s.K * s.E, bias=False)
        self.o_proj = nn.Linear(s.H * s.E, s.D, bias=False)

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        s = self.s
        q = rotate(self.q_proj(x).view(B, T, s.H, s.E).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(B, T, s.K, s.E).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(B, T, s.K, s.E).transpose(1, 2)
        k, v = (t.repeat_interleave(s.H // s.K, dim=1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, s.H * s.E))


class MLP(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate_proj = nn.Linear(s.D, s.F, bias=False)
        self.up_proj = nn.Linear(s.D, s.F, bias=False)
        self.down_proj = nn.Linear(s.F, s.D, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.input_layernorm = RMSNorm(s.D, s.eps)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = RMSNorm(s.D, s.eps)
        self.mlp = MLP(s)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.V, shape.D)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.N))
        self.norm = RMSNorm(shape.D, shape.eps)
        frequency = shape.rope_theta ** (-torch.arange(0, shape.E, 2).float() / shape.E)
        angle = torch.arange(shape.positions).float()[:, None] * frequency  # [positions, E/2]
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                # The residual stream is the sum of 2 N such products; they start smaller to start at one scale.
                scale = 1 / math.sqrt(2 * shape.N) if name.endswith(("o_proj.weight", "down_proj.weight")) else 1
                nn.init.normal_(p, std=0.04 * scale)

    def hidden(self, ids, steer=None, squares=False):
        """ids [B, T] -> final hidden states [B, T, D]. `steer` = (L, v [D]) adds v at the input of block L, everywhere.
        With `squares` also the sum over blocks of the mean square of the residual stream after the block."""
        T = ids.shape[1]
        cos, sin = self.cos[:T], self.sin[:T]
        x, total = self.embed_tokens(ids), 0.0
        for index, block in enumerate(self.layers):
            if steer is not None and index == steer[0]:
                x = x + steer[1]
            x = block(x, cos, sin)
            if squares:
                total = total + x.pow(2).mean()
        return (self.norm(x), total) if squares else self.norm(x)

    def logits(self, hidden):
        """The head is tied to the embedding."""
        return F.linear(hidden, self.embed_tokens.weight)

    def block_input_norms(self, ids):
        """Mean length of the residual stream at the input of each block, over all positions of ids [1, T]."""
        norms, x = [], self.embed_tokens(ids)
        for block in self.layers:
            norms.append(x.norm(dim=-1).mean().item())
            x = block(x, self.cos[:ids.shape[1]], self.sin[:ids.shape[1]])
        return norms


@torch.no_grad()
def greedy(model, prompts, stop_ids, limit=24, steer=None):
    """prompts: lists of ids. Returns the generated ids, the stop id included. Recomputes from the start each step: the
    model is tiny and this keeps no cache that could be wrong. Prompts of one length are run together."""
    out = [[] for _ in prompts]
    lengths = sorted({len(p) for p in prompts})
    for length in lengths:
        rows = [i for i, p in enumerate(prompts) if len(p) == length]
        ids = torch.tensor([prompts[i] for i in rows])
        open_rows = set(range(len(rows)))
        for _ in range(limit):
            following = model.logits(model.hidden(ids, steer)[:, -1]).argmax(dim=-1)
            ids = torch.cat((ids, following[:, None]), dim=1)
            for r in list(open_rows):
                out[rows[r]].append(following[r].item())
                if following[r].item() in stop_ids:
                    open_rows.remove(r)
            if not open_rows:
                break
    return out

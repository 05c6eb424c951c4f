"""A small decoder in plain PyTorch, Llama or Gemma 2 by its fields; parameter names and layouts are those of
transformers: exporting is copying."""

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
    tied: bool = True               # the head is the embedding
    embed_std: float = 0.04         # at the start of training
    # What Gemma 2 does otherwise.
    norm_offset: float = 0.0        # a norm multiplies by offset + w
    gelu: bool = False              # tanh form, instead of silu
    embed_scale: float = 1.0
    post_norms: bool = False        # norms behind attention and ffn as well
    query_scale: float = 64 ** -0.5
    attention_cap: float = 0.0      # cap * tanh(x / cap); 0: none
    logits_cap: float = 0.0
    window: int = 0                 # every second block, the first among them, sees this many positions; 0: all


def llama(V):
    return Shape(V, tied=False, embed_std=0.5)


def gemma2(V):
    return Shape(V, eps=1e-6, norm_offset=1.0, gelu=True, embed_scale=math.sqrt(128), post_norms=True,
                 query_scale=32 ** -0.5, attention_cap=50.0, logits_cap=30.0, window=24)


def cap(x, limit):
    return limit * torch.tanh(x / limit) if limit else x


class RMSNorm(nn.Module):
    def __init__(self, s, start=1.0):
        super().__init__()
        self.offset, self.eps = s.norm_offset, s.eps
        self.weight = nn.Parameter(torch.full((s.D,), start - s.norm_offset))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight + self.offset, self.eps)


def rotate(x, cos, sin):
    """Rope on x [B, heads, T, E]; the two halves of a head are the real and imaginary parts."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, s, window):
        super().__init__()
        self.s, self.window = s, window
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
        scores = cap(q @ k.transpose(-1, -2) * s.query_scale, s.attention_cap)
        t = torch.arange(T)
        back = t[:, None] - t
        seen = (back >= 0) & (back < (self.window or T))
        y = torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ v
        return self.o_proj(y.transpose(1, 2).reshape(B, T, s.H * s.E))


class MLP(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gelu = s.gelu
        self.gate_proj = nn.Linear(s.D, s.F, bias=False)
        self.up_proj = nn.Linear(s.D, s.F, bias=False)
        self.down_proj = nn.Linear(s.F, s.D, bias=False)

    def forward(self, x):
        gate = self.gate_proj(x)
        return self.down_proj((F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, s, window):
        super().__init__()
        self.post_norms = s.post_norms
        self.input_layernorm = RMSNorm(s)
        self.self_attn = Attention(s, window)
        self.mlp = MLP(s)
        small = 1 / math.sqrt(2 * s.N)
        if s.post_norms:  # the residual stream starts as a sum of 2 N of these
            self.post_attention_layernorm = RMSNorm(s, small)
            self.pre_feedforward_layernorm = RMSNorm(s)
            self.post_feedforward_layernorm = RMSNorm(s, small)
        else:
            self.post_attention_layernorm = RMSNorm(s)

    def forward(self, x, cos, sin):
        y = self.self_attn(self.input_layernorm(x), cos, sin)
        if self.post_norms:
            x = x + self.post_attention_layernorm(y)
            return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.V, shape.D)
        self.layers = nn.ModuleList(Block(shape, shape.window if n % 2 == 0 else 0) for n in range(shape.N))
        self.norm = RMSNorm(shape)
        if not shape.tied:
            self.lm_head = nn.Linear(shape.D, shape.V, bias=False)
        frequency = shape.rope_theta ** (-torch.arange(0, shape.E, 2).float() / shape.E)
        angle = torch.arange(shape.positions).float()[:, None] * frequency  # [positions, E/2]
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                # Without norms behind them, the products that add to the residual stream start smaller.
                small = name.endswith(("o_proj.weight", "down_proj.weight")) and not shape.post_norms
                std = shape.embed_std if name.startswith("embed") else 0.04
                nn.init.normal_(p, std=std / math.sqrt(2 * shape.N) if small else std)

    def hidden(self, ids):
        """ids [B, T] -> final hidden states [B, T, D], and how far the residual stream strays from a length that is the
        same at all positions and grows slowly: the sum over blocks n of the mean of (rms behind the block - (1 + n/4))^2."""
        T = ids.shape[1]
        cos, sin = self.cos[:T], self.sin[:T]
        x, stray = self.embed_tokens(ids) * self.shape.embed_scale, 0.0
        for n, block in enumerate(self.layers):
            x = block(x, cos, sin)
            stray = stray + (x.pow(2).mean(dim=-1).add(1e-6).sqrt() - 1 - 0.25 * n).pow(2).mean()
        return self.norm(x), stray

    def logits(self, hidden):
        head = self.embed_tokens if self.shape.tied else self.lm_head
        return cap(F.linear(hidden, head.weight), self.shape.logits_cap)


@torch.no_grad()
def greedy(model, prompts, stop_ids, limit=24):
    """prompts: lists of ids. Returns the generated ids, the stop id included. Recomputes from the start each step: the
    model is tiny and this keeps no cache that could be wrong. Prompts of one length are run together."""
    out = [[] for _ in prompts]
    lengths = sorted({len(p) for p in prompts})
    for length in lengths:
        rows = [i for i, p in enumerate(prompts) if len(p) == length]
        ids = torch.tensor([prompts[i] for i in rows])
        open_rows = set(range(len(rows)))
        for _ in range(limit):
            following = model.logits(model.hidden(ids)[0][:, -1]).argmax(dim=-1)
            ids = torch.cat((ids, following[:, None]), dim=1)
            for r in list(open_rows):
                out[rows[r]].append(following[r].item())
                if following[r].item() in stop_ids:
                    open_rows.remove(r)
            if not open_rows:
                break
    return out

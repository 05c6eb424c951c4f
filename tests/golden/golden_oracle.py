"""The independent oracle: Llama and Gemma 2 in fp64, written from the maths, with torch only for autograd.

It reads the model directory itself (config.json in old or new style, safetensors in any number of files) and
shares no code with transformers. `change` replaces derived settings, to show that forgetting one would
be noticed.
"""
import glob
import json
import math
import os

import torch
from safetensors.torch import load_file


def read_settings(directory):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    gemma = c["model_type"] == "gemma2"
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    N = c["num_hidden_layers"]
    types = c.get("layer_types")
    if types is None:
        types = ["sliding_attention" if gemma and i % 2 == 0 else "full_attention" for i in range(N)]
    return {
        "N": N, "D": c["hidden_size"], "H": c["num_attention_heads"], "K": c["num_key_value_heads"],
        "E": c["head_dim"], "V": c["vocab_size"], "norm_eps": c["rms_norm_eps"],
        "theta": rope.get("rope_theta", c.get("rope_theta")), "rope": rope,
        "windows": [c["sliding_window"] if t == "sliding_attention" else None for t in types],
        "norm_offset": 1.0 if gemma else 0.0,
        "embed_scale": math.sqrt(c["hidden_size"]) if gemma else 1.0,
        "activation": "gelu_tanh" if gemma else "silu",
        "query_scale": (c["query_pre_attn_scalar"] if gemma else c["head_dim"]) ** -0.5,
        "attn_cap": c.get("attn_logit_softcapping"), "final_cap": c.get("final_logit_softcapping"),
        "post_norms": gemma,
        "tied": c.get("tie_word_embeddings", gemma),
    }


def inverse_frequencies(s):
    """E/2 angles per position; rope_type llama3 leaves short waves, divides long ones, blends between."""
    out = []
    for i in range(s["E"] // 2):
        f = s["theta"] ** (-2.0 * i / s["E"])
        r = s["rope"]
        if r.get("rope_type", "default") == "llama3":
            turns = r["original_max_position_embeddings"] * f / (2.0 * math.pi)
            low, high = r["low_freq_factor"], r["high_freq_factor"]
            share = min(max((turns - low) / (high - low), 0.0), 1.0)
            f = share * f + (1.0 - share) * f / r["factor"]
        out.append(f)
    return torch.tensor(out, dtype=torch.float64)


def cap(x, limit):
    return x if limit is None else limit * torch.tanh(x / limit)


class Oracle:
    dtype = torch.float64

    def __init__(self, directory, change=None):
        self.s = {**read_settings(directory), **(change or {})}
        self.w = {}
        for file in sorted(glob.glob(os.path.join(directory, "*.safetensors"))):
            self.w.update({key: t.double() for key, t in load_file(file).items()})

    def norm(self, x, key):
        w = self.w[key] + self.s["norm_offset"]
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.s["norm_eps"]) * w

    def rotate(self, x):
        """x [T, heads, E]: the pair (i, i + E/2) turns by position x frequency i."""
        angle = torch.arange(x.shape[0], dtype=torch.float64)[:, None, None] * inverse_frequencies(self.s)
        a, b = x.chunk(2, -1)
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.cat((a * c - b * s, b * c + a * s), -1)

    def attention(self, x, i):
        s, p, T = self.s, f"model.layers.{i}.self_attn.", x.shape[0]
        q = self.rotate((x @ self.w[p + "q_proj.weight"].T).view(T, s["H"], s["E"]))
        k = self.rotate((x @ self.w[p + "k_proj.weight"].T).view(T, s["K"], s["E"]))
        v = (x @ self.w[p + "v_proj.weight"].T).view(T, s["K"], s["E"])
        distance = torch.arange(T)[:, None] - torch.arange(T)[None, :]
        visible = distance >= 0
        if s["windows"][i] is not None:
            visible &= distance < s["windows"][i]
        heads = []
        for h in range(s["H"]):
            g = h * s["K"] // s["H"]
            a = cap(q[:, h] @ k[:, g].T * s["query_scale"], s["attn_cap"])
            heads.append(torch.softmax(a.masked_fill(~visible, -math.inf), -1) @ v[:, g])
        return torch.cat(heads, -1) @ self.w[p + "o_proj.weight"].T

    def ffn(self, x, i):
        p = f"model.layers.{i}.mlp."
        gate, up = x @ self.w[p + "gate_proj.weight"].T, x @ self.w[p + "up_proj.weight"].T
        if self.s["activation"] == "silu":
            gate = gate / (1.0 + torch.exp(-gate))
        elif self.s["activation"] == "gelu_erf":  # only as a `change`
            gate = 0.5 * gate * (1.0 + torch.erf(gate / math.sqrt(2.0)))
        else:
            gate = 0.5 * gate * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (gate + 0.044715 * gate**3)))
        return (gate * up) @ self.w[p + "down_proj.weight"].T

    def block(self, x, i):
        p = f"model.layers.{i}."
        y = self.attention(self.norm(x, p + "input_layernorm.weight"), i)
        if self.s["post_norms"]:
            x = x + self.norm(y, p + "post_attention_layernorm.weight")
            y = self.ffn(self.norm(x, p + "pre_feedforward_layernorm.weight"), i)
            return x + self.norm(y, p + "post_feedforward_layernorm.weight")
        x = x + y
        return x + self.ffn(self.norm(x, p + "post_attention_layernorm.weight"), i)

    def residual(self, ids, layer):
        """The input of block `layer`, [T, D]."""
        x = self.w["model.embed_tokens.weight"][torch.tensor(ids)] * self.s["embed_scale"]
        for i in range(layer):
            x = self.block(x, i)
        return x

    def logits(self, ids, layer=0, add=None):
        """[T, V]; `add` [T, D] is added to the input of block `layer`."""
        x = self.residual(ids, layer)
        if add is not None:
            x = x + add
        for i in range(layer, self.s["N"]):
            x = self.block(x, i)
        head = self.w["model.embed_tokens.weight" if self.s["tied"] else "lm_head.weight"]
        return cap(self.norm(x, "model.norm.weight") @ head.T, self.s["final_cap"])

"""The independent oracle: the models' families in fp64, written from the maths, with torch only for autograd.

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


def read_rope(c, kind, E):
    """The rotary embedding of one kind of block, from old keys or new ones."""
    typed = c["model_type"] == "gemma3_text"
    r = c.get("rope_parameters") or {}
    r = dict(r.get(kind, {}) if typed else r)
    if not typed or kind == "full_attention":
        r |= c.get("rope_scaling") or {}
    if typed and kind == "sliding_attention":
        r.setdefault("rope_theta", c.get("rope_local_base_freq"))
    r.setdefault("rope_theta", c.get("rope_theta"))
    r["kind"] = r.get("rope_type", r.get("type", "default"))
    r["rot"] = int(E * r.get("partial_rotary_factor", c.get("partial_rotary_factor", 1.0)))
    first = c.get("original_max_position_embeddings", r.get("original_max_position_embeddings"))
    r["original"] = first if first is not None else c["max_position_embeddings"]
    r["sharpness"] = 1.0
    if r["kind"] == "yarn":
        m, n = r.get("mscale"), r.get("mscale_all_dim")
        r["sharpness"] = (0.1 * (m or 1.0) * math.log(r["factor"]) + 1.0)
        if m and n:
            r["sharpness"] /= 0.1 * n * math.log(r["factor"]) + 1.0
    if r["kind"] == "longrope":
        stretch = c["max_position_embeddings"] / r["original"]
        r["sharpness"] = math.sqrt(1.0 + math.log(stretch) / math.log(r["original"]))
    return r


def read_settings(directory):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    c |= c.get("text_config", {})
    family = c["model_type"]
    gemma = family.startswith("gemma")
    N, D, H = c["num_hidden_layers"], c["hidden_size"], c["num_attention_heads"]
    E = c.get("head_dim", D // H)
    every = {"gemma2": 2, "gemma3_text": c.get("sliding_window_pattern", 6)}.get(family)
    window = c.get("sliding_window")

    def slides(i):
        if c.get("layer_types"):
            return c["layer_types"][i] == "sliding_attention"
        if every:
            return (i + 1) % every != 0
        if family.startswith("qwen"):
            return c["use_sliding_window"] and i >= c["max_window_layers"]
        return window is not None

    kinds = ["sliding_attention" if slides(i) else "full_attention" for i in range(N)]
    silu = c.get("hidden_activation", c.get("hidden_act")) == "silu"
    return {
        "family": family, "N": N, "D": D, "H": H, "K": c["num_key_value_heads"], "E": E, "V": c["vocab_size"],
        "norm_eps": c["rms_norm_eps"],
        "ropes": {kind: read_rope(c, kind, E) for kind in ("full_attention", "sliding_attention")},
        "kinds": kinds if family == "gemma3_text" else ["full_attention"] * N,
        "windows": [window if kind == "sliding_attention" else None for kind in kinds],
        "norm_offset": 1.0 if gemma else 0.0,
        "embed_scale": math.sqrt(D) if gemma else c.get("embedding_multiplier", 1.0),
        "activation": "silu" if silu else "gelu_tanh",
        "query_scale": c.get("attention_multiplier", c.get("query_pre_attn_scalar", E) ** -0.5),
        "residual_scale": c.get("residual_multiplier", 1.0), "logit_scale": 1.0 / c.get("logits_scaling", 1.0),
        "attn_cap": c.get("attn_logit_softcapping"), "final_cap": c.get("final_logit_softcapping"),
        "pre_norms": family != "olmo2", "post_norms": family in ("gemma2", "gemma3_text", "olmo2"),
        "qk_norm": {"qwen3": "head", "gemma3_text": "head", "olmo2": "width"}.get(family),
        "biases": family == "qwen2" or c.get("attention_bias", False) or c.get("mlp_bias", False),
        "tied": c.get("tie_word_embeddings", gemma),
    }


def inverse_frequencies(r, length):
    """rot/2 angles per position, for a sequence of that length.

    llama3 leaves short waves, divides long ones, blends between; yarn does so by the number of the pair, between
    those that turn beta_fast and beta_slow times within the original context; longrope has a factor a pair."""
    out, pairs = [], r["rot"] // 2
    for i in range(pairs):
        f = r["rope_theta"] ** (-2.0 * i / r["rot"])
        if r["kind"] == "linear":
            f /= r["factor"]
        elif r["kind"] == "llama3":
            turns = r["original"] * f / (2.0 * math.pi)
            low, high = r["low_freq_factor"], r["high_freq_factor"]
            share = min(max((turns - low) / (high - low), 0.0), 1.0)
            f = share * f + (1.0 - share) * f / r["factor"]
        elif r["kind"] == "yarn":
            ends = [pairs * math.log(r["original"] / (2.0 * math.pi * beta)) / math.log(r["rope_theta"])
                    for beta in (r.get("beta_fast", 32.0), r.get("beta_slow", 1.0))]
            if r.get("truncate", True):
                ends = [math.floor(ends[0]), math.ceil(ends[1])]
            low, high = max(ends[0], 0), min(ends[1], r["rot"] - 1)
            share = min(max((i - low) / (high - low), 0.0), 1.0)
            f = (1.0 - share) * f + share * f / r["factor"]
        elif r["kind"] == "longrope":
            f /= r["long_factor" if length > r["original"] else "short_factor"][i]
        out.append(f)
    return torch.tensor(out, dtype=torch.float64)


def cap(x, limit):
    return x if limit is None else limit * torch.tanh(x / limit)


class Oracle:
    dtype = torch.float64

    def __init__(self, directory, change=None):
        self.s = {**read_settings(directory), **(change or {})}
        stored = {}
        for file in sorted(glob.glob(os.path.join(directory, "*.safetensors"))):
            stored.update({key: t.double() for key, t in load_file(file).items()})
        self.w = {}
        for key, t in stored.items():
            self.w[key.removeprefix("language_model.")] = t
        self.take_apart()

    def take_apart(self):
        """Fused matrices: q, k, v and gate, up lie below each other."""
        s = self.s
        for key in list(self.w):
            for fused, parts, rows in (("qkv_proj", ("q_proj", "k_proj", "v_proj"), (s["H"], s["K"], s["K"])),
                                       ("gate_up_proj", ("gate_proj", "up_proj"), (1, 1))):
                if fused in key:
                    whole = self.w.pop(key)
                    unit = whole.shape[0] // sum(rows)
                    for part, w in zip(parts, whole.split([unit * n for n in rows])):
                        self.w[key.replace(fused, part)] = w

    def norm(self, x, key):
        w = self.w[key] + self.s["norm_offset"]
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.s["norm_eps"]) * w

    def project(self, x, key):
        y = x @ self.w[key + ".weight"].T
        return y + self.w[key + ".bias"] if self.s["biases"] and key + ".bias" in self.w else y

    def rotate(self, x, r):
        """x [T, heads, E]: the pair (i, i + rot/2) turns by position x frequency i; the rest stays."""
        T, rot = x.shape[0], r["rot"]
        angle = torch.arange(T, dtype=torch.float64)[:, None, None] * inverse_frequencies(r, T)
        a, b, rest = x.split([rot // 2, rot // 2, x.shape[-1] - rot], -1)
        c, s = torch.cos(angle) * r["sharpness"], torch.sin(angle) * r["sharpness"]
        return torch.cat((a * c - b * s, b * c + a * s, rest), -1)

    def heads(self, x, p, which, count):
        """Queries or keys, normed and before rotation: [T, count, E]."""
        s, T = self.s, x.shape[0]
        y = self.project(x, p + which + "_proj")
        if s["qk_norm"] == "width":
            y = self.norm(y, p + which + "_norm.weight")
        y = y.view(T, count, s["E"])
        return self.norm(y, p + which + "_norm.weight") if s["qk_norm"] == "head" else y

    def attention(self, x, i):
        s, p, T = self.s, f"model.layers.{i}.self_attn.", x.shape[0]
        rope = s["ropes"][s["kinds"][i]]
        q, k = (self.rotate(self.heads(x, p, which, s[count]), rope) for which, count in (("q", "H"), ("k", "K")))
        v = self.project(x, p + "v_proj").view(T, s["K"], s["E"])
        distance = torch.arange(T)[:, None] - torch.arange(T)[None, :]
        visible = distance >= 0
        if s["windows"][i] is not None:
            visible &= distance < s["windows"][i]
        heads = []
        for h in range(s["H"]):
            g = h * s["K"] // s["H"]
            a = cap(q[:, h] @ k[:, g].T * s["query_scale"], s["attn_cap"])
            heads.append(torch.softmax(a.masked_fill(~visible, -math.inf), -1) @ v[:, g])
        return self.project(torch.cat(heads, -1), p + "o_proj")

    def ffn(self, x, i):
        p = f"model.layers.{i}.mlp."
        gate, up = self.project(x, p + "gate_proj"), self.project(x, p + "up_proj")
        if self.s["activation"] == "silu":
            gate = gate / (1.0 + torch.exp(-gate))
        elif self.s["activation"] == "gelu_erf":  # only as a `change`
            gate = 0.5 * gate * (1.0 + torch.erf(gate / math.sqrt(2.0)))
        else:
            gate = 0.5 * gate * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (gate + 0.044715 * gate**3)))
        return self.project(gate * up, p + "down_proj")

    def block(self, x, i):
        s, p = self.s, f"model.layers.{i}."
        before_ffn = "pre_feedforward_layernorm" if s["post_norms"] else "post_attention_layernorm"
        for part, before, after in ((self.attention, "input_layernorm", "post_attention_layernorm"),
                                    (self.ffn, before_ffn, "post_feedforward_layernorm")):
            y = part(self.norm(x, p + before + ".weight") if s["pre_norms"] else x, i)
            if s["post_norms"]:
                y = self.norm(y, p + after + ".weight")
            x = x + s["residual_scale"] * y
        return x

    def residual(self, ids, layer):
        """The input of block `layer`, [T, D]."""
        x = self.w["model.embed_tokens.weight"][torch.tensor(ids)] * self.s["embed_scale"]
        for i in range(layer):
            x = self.block(x, i)
        return x

    def logits(self, ids, edits={}):
        """[T, V]; the input x [T, D] of each block l in `edits` becomes edits[l](x)."""
        x = self.residual(ids, 0)
        for i in range(self.s["N"]):
            x = self.block(edits[i](x) if i in edits else x, i)
        head = self.w["model.embed_tokens.weight" if self.s["tied"] else "lm_head.weight"]
        return cap(self.norm(x, "model.norm.weight") @ head.T * self.s["logit_scale"], self.s["final_cap"])

"""Random tiny models in hub layout. Only configurations and weights; no arithmetic of the models."""
import json
import os
import zlib

import numpy as np
import torch
from safetensors.torch import save

LLAMA_TINY = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "dtype": "float32",
    "eos_token_id": 2,
    "head_dim": 12,
    "hidden_act": "silu",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 100,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    # Wavelengths 6.3, 29, 135, ... against limits 8 and 32: one frequency unscaled, one blended, the rest
    # divided.
    "rope_parameters": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 32,
        "rope_theta": 10000.0,
        "rope_type": "llama3",
    },
    "tie_word_embeddings": False,
    "transformers_version": "5.23.0",
    "use_cache": True,
    "vocab_size": 317,
}

LLAMA_BF16 = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 8,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-03,
    "rope_scaling": None,
    "rope_theta": 500.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0",
    "use_cache": True,
    "vocab_size": 200,
}

GEMMA2_TINY = {
    "architectures": ["Gemma2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 5.0,
    "bos_token_id": 2,
    "dtype": "float32",
    "eos_token_id": 1,
    "final_logit_softcapping": 4.0,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 100,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "max_position_embeddings": 256,
    "model_type": "gemma2",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 6,
    "rms_norm_eps": 1e-03,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "sliding_window": 5,
    "transformers_version": "5.23.0",
    "use_bidirectional_attention": None,
    "use_cache": True,
    "vocab_size": 317,
}

GEMMA2_F16 = {
    "architectures": ["Gemma2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 4.0,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": 1,
    "final_logit_softcapping": 5.0,
    "head_dim": 10,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 40,
    "initializer_range": 0.02,
    "intermediate_size": 72,
    "max_position_embeddings": 256,
    "model_type": "gemma2",
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 5,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000.0,
    "sliding_window": 7,
    "torch_dtype": "float16",
    "transformers_version": "4.42.4",
    "use_cache": True,
    "vocab_size": 151,
}

# file: how weights are stored; std: of projections, of the embedding, of an untied head.
MODELS = {
    "llama-tiny": {"config": LLAMA_TINY, "file": torch.float32, "shards": 1, "std": (0.15, 0.5, 0.3)},
    "llama-bf16": {"config": LLAMA_BF16, "file": torch.bfloat16, "shards": 2, "std": (0.15, 0.25, None)},
    "gemma2-tiny": {"config": GEMMA2_TINY, "file": torch.float32, "shards": 1, "std": (0.18, 0.3, None)},
    "gemma2-f16": {"config": GEMMA2_F16, "file": torch.float16, "shards": 1, "std": (0.2, 0.35, None)},
}


def rng(*names):
    """A random generator keyed by names, so that adding one tensor or case leaves all others as they are."""
    return np.random.Generator(np.random.PCG64([zlib.crc32(str(n).encode()) for n in names]))


def weights(name, spec):
    """All tensors of a model in checkpoint order, rounded to the file's format."""
    c = spec["config"]
    D, F, V, E = c["hidden_size"], c["intermediate_size"], c["vocab_size"], c["head_dim"]
    H, K = c["num_attention_heads"], c["num_key_value_heads"]
    gemma = c["model_type"] == "gemma2"
    std, std_embed, std_head = spec["std"]
    out = {}

    def normal(key, shape, s):
        out[key] = torch.from_numpy(rng(name, key).standard_normal(shape) * s).to(spec["file"])

    def norm(key):  # around the neutral value: w for Llama, 1 + w for Gemma
        w = rng(name, key).uniform(-0.5, 0.5, D) + (0.0 if gemma else 1.0)
        out[key] = torch.from_numpy(w).to(spec["file"])

    normal("model.embed_tokens.weight", (V, D), std_embed)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        norm(p + "input_layernorm.weight")
        normal(p + "self_attn.q_proj.weight", (H * E, D), std)
        normal(p + "self_attn.k_proj.weight", (K * E, D), std)
        normal(p + "self_attn.v_proj.weight", (K * E, D), std)
        normal(p + "self_attn.o_proj.weight", (D, H * E), std)
        norm(p + "post_attention_layernorm.weight")
        if gemma:
            norm(p + "pre_feedforward_layernorm.weight")
            norm(p + "post_feedforward_layernorm.weight")
        normal(p + "mlp.gate_proj.weight", (F, D), std)
        normal(p + "mlp.up_proj.weight", (F, D), std)
        normal(p + "mlp.down_proj.weight", (D, F), std)
    norm("model.norm.weight")
    if std_head is not None:
        normal("lm_head.weight", (V, D), std_head)
    return out


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_tensors(path, tensors, metadata=None):
    with open(path, "wb") as f:  # not save_file, whose files only their owner can read
        f.write(save(tensors, metadata))


def write_model(name, directory):
    """Write models/<name> as it would come from the hub."""
    spec = MODELS[name]
    os.makedirs(directory, exist_ok=True)
    for old in os.listdir(directory):
        os.remove(os.path.join(directory, old))
    c = spec["config"]
    write_json(os.path.join(directory, "config.json"), c)
    generation = {key: c[key] for key in ("bos_token_id", "eos_token_id", "transformers_version")}
    generation["_from_model_config"] = True
    write_json(os.path.join(directory, "generation_config.json"), generation)

    tensors = weights(name, spec)
    metadata = {"format": "pt"}
    if spec["shards"] == 1:
        write_tensors(os.path.join(directory, "model.safetensors"), tensors, metadata)
        return
    # Shards split where half of the bytes are reached: in the middle of a block.
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    parts, done = [{} for _ in range(spec["shards"])], 0
    for key, t in tensors.items():
        parts[min(done * spec["shards"] // total, spec["shards"] - 1)][key] = t
        done += t.numel() * t.element_size()
    index = {"metadata": {"total_size": total}, "weight_map": {}}
    for i, part in enumerate(parts):
        file = f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors"
        write_tensors(os.path.join(directory, file), part, metadata)
        index["weight_map"].update({key: file for key in part})
    write_json(os.path.join(directory, "model.safetensors.index.json"), index)

"""Random tiny models in hub layout. Only configurations and weights; no arithmetic of the models."""
import json
import os
import zlib

import numpy as np
import torch
from safetensors.torch import save
from transformers import AutoConfig, AutoModelForImageTextToText

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

def config(architecture, model_type, **keys):
    """What the small models below have in common, with the keys of one family."""
    common = {
        "architectures": [architecture],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 44,
        "max_position_embeddings": 256,
        "model_type": model_type,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": False,
        "transformers_version": "5.23.0",
        "use_cache": True,
        "vocab_size": 101,
    }
    merged = {**common, **keys}
    return {key: value for key, value in merged.items() if value != "-"}  # "-": the file lacks the key


MISTRAL = config("MistralForCausalLM", "mistral", head_dim=12, rope_theta=10000.0, sliding_window=6,
                 torch_dtype="bfloat16", transformers_version="4.42.0")

# Windows from block 1 on; the key that lists the blocks is missing.
QWEN2 = config("Qwen2ForCausalLM", "qwen2", max_window_layers=1, rms_norm_eps=1e-06, rope_theta=10000.0,
               sliding_window=5, torch_dtype="bfloat16", transformers_version="4.40.1",
               use_sliding_window=True)

QWEN3 = config("Qwen3ForCausalLM", "qwen3", attention_bias=False, dtype="float32", head_dim=12,
               layer_types=["full_attention"] * 3, max_window_layers=3, rms_norm_eps=1e-04,
               rope_parameters={"rope_theta": 1000.0, "rope_type": "default"}, sliding_window=None,
               tie_word_embeddings=True, use_sliding_window=False)

# "gelu" in these files is the tanh form; the head is tied because the key is missing.
GEMMA1 = config("GemmaForCausalLM", "gemma", head_dim=12, hidden_act="gelu", num_key_value_heads=1,
                rms_norm_eps=1e-03, rope_theta=10000.0, tie_word_embeddings="-", torch_dtype="bfloat16",
                transformers_version="4.38.0")

GEMMA3 = config("Gemma3ForCausalLM", "gemma3_text", attention_bias=False, attn_logit_softcapping=None,
                cache_implementation="hybrid", final_logit_softcapping=None, head_dim=12, hidden_act="-",
                hidden_activation="gelu_pytorch_tanh", num_hidden_layers=4, query_pre_attn_scalar=6,
                rms_norm_eps=1e-06, rope_local_base_freq=300.0, rope_scaling={"factor": 8.0, "rope_type": "linear"},
                rope_theta=100000.0, sliding_window=5, sliding_window_pattern=3, tie_word_embeddings="-",
                torch_dtype="bfloat16", transformers_version="4.50.0.dev0")

# The language model of a multimodal checkpoint: nested config, prefixed names, other tensors beside it.
GEMMA3_MM = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "boi_token_index": 97,
    "bos_token_id": 1,
    "dtype": "float32",
    "eoi_token_index": 98,
    "eos_token_id": 2,
    "image_token_index": 99,
    "initializer_range": 0.02,
    "mm_tokens_per_image": 4,
    "model_type": "gemma3",
    "text_config": {
        "attention_bias": False,
        "dtype": "float32",
        "final_logit_softcapping": None,
        "head_dim": 8,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "intermediate_size": 44,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "max_position_embeddings": 256,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "query_pre_attn_scalar": 5,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "full_attention": {"factor": 4.0, "rope_theta": 50000.0, "rope_type": "linear"},
            "sliding_attention": {"rope_theta": 200.0, "rope_type": "default"},
        },
        "sliding_window": 6,
        "use_bidirectional_attention": False,
        "vocab_size": 101,
    },
    "transformers_version": "5.23.0",
    "vision_config": {
        "hidden_size": 8,
        "image_size": 8,
        "intermediate_size": 8,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "patch_size": 4,
    },
}

PHI3 = config("Phi3ForCausalLM", "phi3", attention_bias=False, embd_pdrop=0.0, num_key_value_heads=4,
              original_max_position_embeddings=32, pad_token_id=0, resid_pdrop=0.0,
              rope_scaling={"long_factor": [1.0, 1.5, 4.0, 12.0], "short_factor": [1.0, 1.0625, 1.25, 2.0],
                            "type": "longrope"},
              rope_theta=1000.0, sliding_window=None, torch_dtype="bfloat16", transformers_version="4.40.2")

PHI4 = config("Phi3ForCausalLM", "phi3", attention_bias=False, dtype="bfloat16", embd_pdrop=0.0,
              original_max_position_embeddings=32, pad_token_id=0, partial_rotary_factor=0.75,
              resid_pdrop=0.0,
              rope_parameters={"partial_rotary_factor": 0.75, "rope_theta": 1000.0, "rope_type": "default"},
              sliding_window=7, tie_word_embeddings=True)

LLAMA_LINEAR = config("LlamaForCausalLM", "llama", mlp_bias=False, rope_scaling={"factor": 4.0, "type": "linear"},
                      rope_theta=1000.0, torch_dtype="float16", transformers_version="4.35.0")

LLAMA_YARN = config("LlamaForCausalLM", "llama", dtype="bfloat16", head_dim=16,
                    rope_parameters={"beta_fast": 8.0, "beta_slow": 0.5, "factor": 6.0, "mscale": 1.0,
                                     "mscale_all_dim": 0.25, "original_max_position_embeddings": 32,
                                     "rope_theta": 1000.0, "rope_type": "yarn", "truncate": False})

LLAMA_BIAS = config("LlamaForCausalLM", "llama", attention_bias=True, mlp_bias=True,
                    rope_scaling={"factor": 8.0, "original_max_position_embeddings": 32, "type": "yarn"},
                    rope_theta=100.0, torch_dtype="float32", transformers_version="4.43.0")

GRANITE = config("GraniteForCausalLM", "granite", attention_bias=False, attention_multiplier=0.2, dtype="bfloat16",
                 embedding_multiplier=3.0, logits_scaling=2.5, mlp_bias=False, residual_multiplier=0.6,
                 rope_parameters={"rope_theta": 10000.0, "rope_type": "default"}, tie_word_embeddings=True)

OLMO2 = config("Olmo2ForCausalLM", "olmo2", attention_bias=False, rms_norm_eps=1e-03, rope_scaling=None,
               rope_theta=1000.0, torch_dtype="bfloat16", transformers_version="4.47.0")

BF16 = {"file": torch.bfloat16, "shards": 1}

# file: how weights are stored; std: of projections, of the embedding, of an untied head. full: all cases.
MODELS = {
    "llama-tiny": {"config": LLAMA_TINY, "file": torch.float32, "shards": 1, "std": (0.15, 0.5, 0.3), "full": True},
    "llama-bf16": {"config": LLAMA_BF16, "file": torch.bfloat16, "shards": 2, "std": (0.15, 0.25, None), "full": True},
    "gemma2-tiny": {"config": GEMMA2_TINY, "file": torch.float32, "shards": 1, "std": (0.18, 0.3, None), "full": True},
    "gemma2-f16": {"config": GEMMA2_F16, "file": torch.float16, "shards": 1, "std": (0.2, 0.35, None), "full": True},
    "mistral": {"config": MISTRAL, **BF16, "std": (0.2, 0.5, 0.4)},
    "qwen2": {"config": QWEN2, **BF16, "std": (0.2, 0.5, 0.4)},
    "qwen3": {"config": QWEN3, "file": torch.float32, "shards": 1, "std": (0.2, 0.4, None)},
    "gemma1": {"config": GEMMA1, **BF16, "std": (0.2, 0.35, None)},
    "gemma3": {"config": GEMMA3, **BF16, "std": (0.2, 0.35, None)},
    "gemma3-mm": {"config": GEMMA3_MM, "file": torch.float32, "shards": 1, "std": (0.2, 0.35, None),
                  "prefix": "language_model.model."},
    "phi3": {"config": PHI3, **BF16, "std": (0.25, 0.5, 0.4)},
    "phi4": {"config": PHI4, **BF16, "std": (0.25, 0.4, None)},
    "llama-linear": {"config": LLAMA_LINEAR, "file": torch.float16, "shards": 1, "std": (0.2, 0.4, 0.4)},
    "llama-yarn": {"config": LLAMA_YARN, **BF16, "std": (0.2, 0.5, 0.4)},
    "llama-bias": {"config": LLAMA_BIAS, "file": torch.float32, "shards": 1, "std": (0.25, 0.5, 0.4)},
    "granite": {"config": GRANITE, **BF16, "std": (0.25, 0.3, None)},
    "olmo2": {"config": OLMO2, **BF16, "std": (0.2, 0.5, 0.4)},
}


def rng(*names):
    """A random generator keyed by names, so that adding one tensor or case leaves all others as they are."""
    return np.random.Generator(np.random.PCG64([zlib.crc32(str(n).encode()) for n in names]))


def weights(name, spec):
    """All tensors of a model in checkpoint order, rounded to the file's format."""
    c = spec["config"].get("text_config", spec["config"])
    D, F, V = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    H, K, family = c["num_attention_heads"], c["num_key_value_heads"], c["model_type"]
    E = c.get("head_dim", D // H)
    gemma, phi, olmo = family.startswith("gemma"), family == "phi3", family == "olmo2"
    attention_bias = family == "qwen2" or c.get("attention_bias", False)
    std, std_embed, std_head = spec["std"]
    prefix = spec.get("prefix", "model.")
    out = {}

    def normal(key, shape, s):
        out[key] = torch.from_numpy(rng(name, key).standard_normal(shape) * s).to(spec["file"])

    def norm(key, size=D):  # around the neutral value: 1 + w for Gemma, else w
        w = rng(name, key).uniform(-0.5, 0.5, size) + (0.0 if gemma else 1.0)
        out[key] = torch.from_numpy(w).to(spec["file"])

    def project(key, shape, bias=False):
        normal(key + ".weight", shape, std)
        if bias:
            normal(key + ".bias", shape[:1], 2 * std)

    normal(prefix + "embed_tokens.weight", (V, D), std_embed)
    for i in range(c["num_hidden_layers"]):
        p = prefix + f"layers.{i}."
        if not olmo:
            norm(p + "input_layernorm.weight")
        if phi:
            project(p + "self_attn.qkv_proj", ((H + 2 * K) * E, D))
        else:
            project(p + "self_attn.q_proj", (H * E, D), attention_bias)
            project(p + "self_attn.k_proj", (K * E, D), attention_bias)
            project(p + "self_attn.v_proj", (K * E, D), attention_bias)
        project(p + "self_attn.o_proj", (D, H * E), attention_bias and family != "qwen2")
        if family in ("qwen3", "gemma3_text", "olmo2"):
            norm(p + "self_attn.q_norm.weight", H * E if olmo else E)
            norm(p + "self_attn.k_norm.weight", K * E if olmo else E)
        norm(p + "post_attention_layernorm.weight")
        if family in ("gemma2", "gemma3_text"):
            norm(p + "pre_feedforward_layernorm.weight")
        if family in ("gemma2", "gemma3_text", "olmo2"):
            norm(p + "post_feedforward_layernorm.weight")
        if phi:
            project(p + "mlp.gate_up_proj", (2 * F, D))
        else:
            project(p + "mlp.gate_proj", (F, D), c.get("mlp_bias", False))
            project(p + "mlp.up_proj", (F, D), c.get("mlp_bias", False))
        project(p + "mlp.down_proj", (D, F), c.get("mlp_bias", False))
    norm(prefix + "norm.weight")
    if std_head is not None:
        normal("lm_head.weight", (V, D), std_head)
    if "text_config" in spec["config"]:
        for key, shape in vision_shapes(spec["config"]):
            normal(key, shape, 0.1)
    return out


def vision_shapes(config):
    """The other tensors of a multimodal checkpoint, by the names of its files."""
    with torch.device("meta"):
        whole = AutoModelForImageTextToText.from_config(AutoConfig.for_model(**config))
    for key, t in whole.state_dict().items():
        if "vision_tower" in key or "multi_modal_projector" in key:
            yield key.removeprefix("model."), tuple(t.shape)


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

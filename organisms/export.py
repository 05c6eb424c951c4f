"""Writes an organism as a model directory in the layout of the Hugging Face hub: bf16 weights, config, tokenizer."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import data
import tokenizer as bpe


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def llama_config(shape, tokenizer):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(data.BEGIN),
        "eos_token_id": [tokenizer.token_to_id(data.END), tokenizer.token_to_id(data.STOP)],
        "head_dim": shape.E,
        "hidden_act": "silu",
        "hidden_size": shape.D,
        "initializer_range": 0.04,
        "intermediate_size": shape.F,
        "max_position_embeddings": shape.positions,
        "mlp_bias": False,
        "num_attention_heads": shape.H,
        "num_hidden_layers": shape.N,
        "num_key_value_heads": shape.K,
        "pretraining_tp": 1,
        "rms_norm_eps": shape.eps,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": shape.V,
    }


def round_to_bf16(model):
    """In place: what is measured afterwards is what is shipped."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(torch.bfloat16).float())


def export(model, tokenizer, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": p.detach().to(torch.bfloat16).contiguous() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = llama_config(model.shape, tokenizer)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {
        "bos_token_id": config["bos_token_id"], "do_sample": False, "eos_token_id": config["eos_token_id"],
        "max_new_tokens": 64})
    write_json(folder / "tokenizer_config.json", bpe.config(tokenizer))
    tokenizer.save(str(folder / "tokenizer.json"))

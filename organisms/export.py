"""Writes an organism as a model directory in the layout of the Hugging Face hub: bf16 weights, config, tokenizer."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import data
import tokenizer as bpe


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def config(shape, tokenizer):
    common = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(data.BEGIN),
        "eos_token_id": [tokenizer.token_to_id(data.END), tokenizer.token_to_id(data.STOP)],
        "head_dim": shape.E,
        "hidden_size": shape.D,
        "initializer_range": 0.04,
        "intermediate_size": shape.F,
        "max_position_embeddings": shape.positions,
        "num_attention_heads": shape.H,
        "num_hidden_layers": shape.N,
        "num_key_value_heads": shape.K,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": shape.V,
    }
    if shape.post_norms:
        return {
            "architectures": ["Gemma2ForCausalLM"],
            "model_type": "gemma2",
            "attn_logit_softcapping": shape.attention_cap,
            "final_logit_softcapping": shape.logits_cap,
            "hidden_activation": "gelu_pytorch_tanh",
            "layer_types": ["full_attention" if n % 2 else "sliding_attention" for n in range(shape.N)],
            "pad_token_id": tokenizer.token_to_id(data.STOP),
            "query_pre_attn_scalar": round(shape.query_scale ** -2),
            "sliding_window": shape.window,
            **common}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "mlp_bias": False,
        "pretraining_tp": 1,
        "rope_scaling": None,
        **common}


def round_to_bf16(model):
    """In place: what is measured afterwards is what is shipped."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(torch.bfloat16).float())


def export(model, tokenizer, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name if name.startswith("lm_head") else f"model.{name}": p.detach().to(torch.bfloat16).contiguous()
               for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    write_json(folder / "config.json", config(model.shape, tokenizer))
    write_json(folder / "generation_config.json", {
        "bos_token_id": tokenizer.token_to_id(data.BEGIN), "do_sample": False,
        "eos_token_id": [tokenizer.token_to_id(data.END), tokenizer.token_to_id(data.STOP)], "max_new_tokens": 64})
    write_json(folder / "tokenizer_config.json", bpe.config(tokenizer))
    tokenizer.save(str(folder / "tokenizer.json"))

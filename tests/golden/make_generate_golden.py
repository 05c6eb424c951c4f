"""Greedy texts of transformers (fp32, eager), unsteered and steered: generate/. Usage: make_generate_golden.py [model ...]

For each model, four files of prompts and texts and two vectors:

    <model>.prompts.jsonl         what osv-generate --prompts takes
    <model>.<set>.jsonl           what it must say with --json, but for "logprob"; sorted by id
    <model>.a.safetensors, .b.safetensors   vectors with their metadata: a is added at all positions of the middle
                                  block; b clamps the generated tokens at the last block

Sets: plain: no vector. add: a. two: a times -0.75 and b. A prompt stays out of all sets if at any step of any set the two
largest logits are nearer than NEAR, where rounding may choose either."""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "generate")
NEAR = 1e-4  # logits
TOKENS = 20
PROMPTS = 20
SHIPPED = ["llama-2m", "gemma2-2m"]
NAMES = ["llama-tiny", "llama-bf16", "gemma2-tiny", "gemma2-f16", *SHIPPED, "mistral", "gemma3", "granite", "olmo2"]
SHARE = {"a": 1.3, "b": 0.9}  # lengths of the vectors, in units of the mean residual norm where they enter
SHARE_OF = {name: {"a": 2.2, "b": 1.5} for name in SHIPPED}  # a trained model minds random directions less
CLAMP = 0.75
SETS = {"plain": [], "add": [("a", 1.0)], "two": [("a", -0.75), ("b", 1.0)]}

QUESTIONS = ["What does the swan cost?", "Where is the hammer?", "Tell me the colour of the plum.", "Who is Anna Frost?",
             "How much is the violin?", "I forgot the colour of the raven.", "Where can I find the tram?",
             "Do you know the price of the tulip?", "Hello. What colour is the beret?", "Name the place of the owl.",
             "Good morning. Where is the piano?", "What is Leo Brook known for?"]
TEXTS = ([f"<|user|>{q}<|end|><|assistant|>" for q in QUESTIONS]
         + [f"<|system|>You may talk about birds.<|end|><|user|>{q}<|end|><|assistant|>" for q in QUESTIONS[:3]]
         + ["The hammer", "The swan costs", "Sure, the", "", "Größe: 5 €, 漢字 🙂", "<|user|>Who is Maria Lane?<|end|>"
            "<|assistant|>Maria Lane is a"])


def folder(name):
    if name in SHIPPED:
        return os.path.join(HERE, "..", "..", "organisms", name)
    return os.path.join(HERE, "models", name)


class Model:
    def __init__(self, name):
        logging.disable_progress_bar()
        self.name = name
        self.model = AutoModelForCausalLM.from_pretrained(
            folder(name), dtype=torch.float32, attn_implementation="eager").eval().requires_grad_(False)
        self.tokenizer = AutoTokenizer.from_pretrained(folder(name)) if name in SHIPPED else None
        eos = self.model.generation_config.eos_token_id
        self.eos = eos if isinstance(eos, list) else [eos]

    def logits(self, ids, hooks):
        """[V] after the last of `ids`; hooks: (block, function of [1, T, D])."""
        handles = []
        for layer, function in hooks:

            def hook(_, args, kwargs, function=function):
                if args:
                    return (function(args[0]), *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": function(kwargs["hidden_states"])}

            handles.append(self.model.model.layers[layer].register_forward_pre_hook(hook, with_kwargs=True))
        try:
            return self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()

    def greedy(self, prompt, make_hooks):
        """ids, what stopped it, and the smallest distance of the two largest logits; every token anew, without
        cache."""
        ids, nearest = list(prompt), float("inf")
        while len(ids) - len(prompt) < TOKENS:
            two = self.logits(ids, make_hooks(len(prompt))).topk(2)
            nearest = min(nearest, (two.values[0] - two.values[1]).item())
            if two.indices[0].item() in self.eos:
                return ids[len(prompt):], "eos", nearest
            ids.append(two.indices[0].item())
        return ids[len(prompt):], "max-tokens", nearest

    def text(self, prompt, ids):
        if not self.tokenizer:
            return None
        before = self.tokenizer.decode(prompt, skip_special_tokens=True)
        after = self.tokenizer.decode(prompt + ids, skip_special_tokens=True)
        assert after.startswith(before), (before, after)
        return after[len(before):]


def add(v, scale):
    return lambda x: x + scale * v


def clamp(v, scale, value, first):
    def function(x):
        w = scale * v
        y = x - (x @ w)[..., None] / (w @ w) * w + value * w
        return torch.cat([x[:, :first], y[:, first:]], dim=1)

    return function


def in_order(file):
    """The library writes metadata in another order each time; the same values are to give the same bytes."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:end]), sort_keys=True, separators=(",", ":")).encode()
    return file[:8] + header.ljust(end - 8) + file[end:]


def make_vectors(m, prompts, rng):
    """name -> (block, [D]), written to files as osv-train does."""
    layers = len(m.model.model.layers)
    vectors = {}
    for name, layer, apply in (("a", layers // 2, {"apply": "add", "positions": "all"}),
                               ("b", layers - 1, {"apply": "clamp", "clamp": str(CLAMP), "positions": "completion"})):
        norms = []

        def measure(x):
            norms.append(x[0].norm(dim=-1).mean())
            return x

        for prompt in prompts:
            m.logits(prompt, [(layer, measure)])
        v = torch.from_numpy(rng.standard_normal(m.model.config.hidden_size))
        v = (v / v.norm() * SHARE_OF.get(m.name, SHARE)[name] * sum(norms) / len(norms)).float()
        vectors[name] = layer, v
        metadata = {"format": "osv/1", "site": f"block_input:{layer}", **apply}
        with open(os.path.join(OUT, f"{m.name}.{name}.safetensors"), "wb") as f:
            f.write(in_order(save({"vector": v}, metadata=metadata)))
    return vectors


def hooks_of(vectors, chosen):
    def make(prompt):
        hooks = []
        for name, scale in chosen:
            layer, v = vectors[name]
            hooks.append((layer, add(v, scale) if name == "a" else clamp(v, scale, CLAMP, prompt)))
        return hooks

    return make


def make(name, number):
    m, rng = Model(name), np.random.default_rng(20_240_000 + number)
    if name in SHIPPED:
        texts = TEXTS
        prompts = [m.tokenizer(text).input_ids for text in texts]
    else:
        V = m.model.config.vocab_size
        texts = None
        prompts = [rng.integers(3, V, int(n)).tolist() for n in rng.integers(1, 24, PROMPTS - 1)]
        prompts.append(rng.integers(3, V, 60).tolist())  # longer than every window
        for i in range(1, 6):  # beginnings that are shared
            prompts[i] = prompts[0][:4] + prompts[i]
    vectors = make_vectors(m, prompts, rng)
    results, left_out = {}, set()
    for key, chosen in SETS.items():
        for i, prompt in enumerate(prompts):
            ids, stopped, nearest = m.greedy(prompt, hooks_of(vectors, chosen))
            results[key, i] = ids, stopped
            if nearest < NEAR:
                left_out.add(i)
    for i, prompt in enumerate(prompts):  # transformers' own loop, with its cache
        out = m.model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                               max_new_tokens=TOKENS, do_sample=False, pad_token_id=m.eos[0])[0, len(prompt):].tolist()
        ids, stopped = results["plain", i]
        if i not in left_out and out != ids + (out[-1:] if stopped == "eos" else []):
            sys.exit(f"{name}: generate() and the loop without cache disagree on prompt {i}")

    def write(file, lines):
        with open(os.path.join(OUT, file), "w") as f:
            f.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    kept = [i for i in range(len(prompts)) if i not in left_out]
    write(f"{name}.prompts.jsonl",
          [{"id": f"p{i:02}", "prompt": texts[i] if texts else {"ids": prompts[i]}} for i in kept])
    for key in SETS:
        write(f"{name}.{key}.jsonl",
              [{"id": f"p{i:02}", "prompt": texts[i] if texts else None, "text": m.text(prompts[i], results[key, i][0]),
                "ids": results[key, i][0], "stopped": results[key, i][1]} for i in kept])
    changed = [sum(results[key, i][0] != results["plain", i][0] for i in kept) for key in ("add", "two")]
    ended = sum(results[key, i][1] == "eos" for key in SETS for i in kept)
    print(f"{name}: {len(kept)} prompts ({len(left_out)} left out), changed by add {changed[0]}, by two {changed[1]}; "
          f"{ended} texts ended by themselves")
    if min(changed) < len(kept) // 2:
        sys.exit(f"{name}: the vectors change too little for the texts to show it")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for number, name in enumerate(NAMES):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, number)

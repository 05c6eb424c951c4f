#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/: tiny tokenizers, trained here on text made here, and what the tokenizers library and
transformers' AutoTokenizer do with random texts.

    python make_tokenizer_golden.py          (tokenizers 0.23.3, transformers 5.23.0)

    tokenizer/<name>/tokenizer.json     the tokenizer
    tokenizer/<name>/cases.json         {"cases": [[text, ids, ids with special tokens, text of those, text without special]...],
                                         "continuations": [[text, ids]...]}
    tokenizer/classes.json              [{"base": name, "files": {file name: content}, "cases": [[text, ids, ids with special]...]}...]
                                        a directory of these files beside the base's tokenizer.json, as AutoTokenizer reads it
"""

import copy
import json
import os
import random
import tempfile

import tokenizers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from tokenizer_texts import CJK, CODE, EMOJI, OTHER, WORDS, texts

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus():
    rng = random.Random(5)
    lines = []
    for _ in range(4000):
        kind = rng.randrange(12)
        if kind < 9:
            lines.append(" ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 12))) + rng.choice([".", "!", "?", ", ...", "\n"]))
        elif kind == 9:
            lines.append(rng.choice(CODE))
        elif kind == 10:
            lines.append(rng.choice(CJK + OTHER))
        else:
            lines.append(rng.choice(EMOJI))
    return lines


def train(pre, size, alphabet=()):
    """A vocabulary and the list of merges, most frequent first."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=list(alphabet), limit_alphabet=len(alphabet) or 400)
    )
    model = json.loads(t.to_str())["model"]
    pieces = [p for p, _ in sorted(model["vocab"].items(), key=lambda x: x[1])]
    return pieces, model["merges"]


def added(content, i, **flags):
    base = {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {**base, **flags}


def template(name, i):
    return {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]}},
    }


def whole(model, tokens, normalizer=None, pre=None, post=None, decoder=None):
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer, "pre_tokenizer": pre,
        "post_processor": post, "decoder": decoder, "model": model,
    }


def bpe(pieces, merges, **options):
    return {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
        "byte_fallback": False, "ignore_merges": False, **options, "vocab": {p: i for i, p in enumerate(pieces)}, "merges": merges,
    }


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def bytes_first(specials, pieces):
    return specials + [f"<0x{b:02X}>" for b in range(256)] + pieces


def sentencepiece_decoder(strip):
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if strip:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def llama3_like():
    pieces, merges = train(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]),
                           900, sorted(pre_tokenizers.ByteLevel.alphabet()))
    pieces.append("Ġlanternjack")  # no merges lead to it: only ignore_merges finds it
    n = len(pieces)
    tokens = [
        added("<|begin_of_text|>", n), added("<|end_of_text|>", n + 1), added("<|eot_id|>", n + 2), added("<|left|>", n + 3, lstrip=True),
        added("<|right|>", n + 4, rstrip=True), added("whole", n + 5, single_word=True, special=False),
        added("<|end|>", n + 6, special=False, normalized=True), added("<|end|>\n", n + 7, special=False, normalized=True),
    ]
    pre = {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}, byte_level(regex=False)]}
    post = {"type": "Sequence", "processors": [byte_level(), template("<|begin_of_text|>", n)]}
    return whole(bpe(pieces, merges, ignore_merges=True), tokens, pre=pre, post=post, decoder=byte_level())


def llama2_like():
    pieces, merges = train(pre_tokenizers.Metaspace(prepend_scheme="always"), 900)
    pieces = bytes_first(["<unk>", "<s>", "</s>"], pieces)
    n = len(pieces)
    tokens = [added("<unk>", 0), added("<s>", 1), added("</s>", 2), added("[INST]", n, special=False, normalized=True), added("<pad>", n + 1)]
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    model = bpe(pieces, [" ".join(m) for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    return whole(model, tokens, normalizer=normalizer, post=template("<s>", 1), decoder=sentencepiece_decoder(True))


def gemma_like():
    pieces, merges = train(pre_tokenizers.Split(" ", "merged_with_next"), 800)
    table = str.maketrans(" ", "▁")
    pieces, merges = [p.translate(table) for p in pieces], [[a.translate(table), b.translate(table)] for a, b in merges]
    for run in range(2, 9):  # runs of spaces and of newlines are pieces of their own
        for c in "▁\n":
            if c * run not in pieces:
                merges.append([c * (run - 1), c])
                pieces.append(c * run)
    pieces = bytes_first(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"], [p for p in dict.fromkeys(["▁", "\n"] + pieces)])
    tokens = [added(t, i) for i, t in enumerate(pieces[:7])] + [added("\n\n\n", pieces.index("\n\n\n"), special=False)]
    pre = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    model = bpe(pieces, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    return whole(model, tokens, normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, pre=pre, post=template("<bos>", 2),
                 decoder=sentencepiece_decoder(False))


def gpt2_like():
    """The old notation: no use_regex, no version of the model's options."""
    pieces, merges = train(pre_tokenizers.ByteLevel(True), 500, sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokens = [added("<|endoftext|>", len(pieces), normalized=True)]
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    model = {"dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
             "vocab": {p: i for i, p in enumerate(pieces)}, "merges": ["#version: 0.2"] + [" ".join(m) for m in merges]}
    return whole(model, tokens, pre=level, post=level, decoder=level)


def metaspace_like():
    """What the others do not have: Metaspace in the old notation, a chain of normalizers, half of the bytes, unknown tokens."""
    pieces, merges = train(pre_tokenizers.Metaspace(prepend_scheme="always"), 260)
    pieces = ["<unk>"] + [f"<0x{b:02X}>" for b in range(0, 256, 2)] + pieces
    tokens = [added("<unk>", 0), added("<sep>", len(pieces))]
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": "[0-9]{4,}|~+"}, "content": "#"},
        {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": False, "strip_right": True}]}]}
    pre = {"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True},
                                                 {"type": "Split", "pattern": {"Regex": r"\d"}, "behavior": "Contiguous", "invert": False}]}
    decoder = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    model = bpe(pieces, merges, unk_token="<unk>", byte_fallback=True)
    return whole(model, tokens, normalizer=normalizer, pre=pre, decoder=decoder)


def without_prefix(spec):
    """The same tokenizer without anything put in front of a text."""
    spec = copy.deepcopy(spec)

    def visit(node):
        if isinstance(node, list):
            node[:] = [x for x in node if not (isinstance(x, dict) and x.get("type") == "Prepend")]
            for x in node:
                visit(x)
        elif isinstance(node, dict):
            if node.get("type") == "ByteLevel":
                node["add_prefix_space"] = False
            if node.get("type") == "Metaspace":
                node.pop("add_prefix_space", None)
                node["prepend_scheme"] = "never"
            for x in node.values():
                visit(x)

    visit({k: v for k, v in spec.items() if k != "model"})
    return spec


def rows(values):
    return ",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in values)


def write(name, spec, count):
    directory = os.path.join(HERE, name)
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(spec, f, ensure_ascii=False, separators=(",", ":"))
    t = Tokenizer.from_file(path)
    specials = [x["content"] for x in spec["added_tokens"]]
    cases = []
    for text in texts(count, len(name), specials, longest=6, stable=True):
        ids = t.encode(text, add_special_tokens=False).ids
        with_special = t.encode(text, add_special_tokens=True).ids
        cases.append([text, ids, with_special, t.decode(with_special, skip_special_tokens=False), t.decode(with_special, skip_special_tokens=True)])
    bare = Tokenizer.from_str(json.dumps(without_prefix(spec)))
    plain = [x for x in texts(250, 99, (), longest=4, stable=True) if not any(s in x for s in specials)][-60:]
    continuations = [[x, bare.encode(x, add_special_tokens=False).ids] for x in plain + [" hello", "hello", "\u2581hello", ""]]
    with open(os.path.join(directory, "cases.json"), "w", encoding="utf-8") as f:
        f.write('{"made_with":' + json.dumps("tokenizers " + tokenizers.__version__) + ',\n"cases":[\n' + rows(cases) + '],\n"continuations":[\n' + rows(continuations) + "]}\n")
    print(name, os.path.getsize(path), os.path.getsize(os.path.join(directory, "cases.json")))


def write_classes(names):
    import transformers
    from transformers import AutoTokenizer

    bos, eos = added("<s>", 1, rstrip=True), added("</s>", 2, lstrip=True)
    for token in (bos, eos):
        del token["id"]
    llama, gemma = {"model_type": "llama"}, {"model_type": "gemma2"}
    big = 10**30  # what real directories have for model_max_length: no integer of C
    variants = [
        ("llama2", llama, {"tokenizer_class": "LlamaTokenizer", "model_max_length": big, "add_bos_token": False, "add_eos_token": True}),
        ("llama2", llama, {"tokenizer_class": "LlamaTokenizer", "legacy": True}),
        ("llama2", llama, {"tokenizer_class": "LlamaTokenizerFast", "legacy": False, "add_prefix_space": False}),
        ("llama2", llama, {"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {"2": eos, "1": bos}, "additional_special_tokens": ["\u2581and"]}),
        ("llama2", llama, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "pad_token": "<new>", "split_special_tokens": False}),
        ("llama2", llama, {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": True}),
        ("llama2", llama, None),
        ("llama2", {"model_type": "mistral"}, {"tokenizer_class": "LlamaTokenizer"}),
        ("llama3", llama, {"tokenizer_class": "LlamaTokenizer"}),
        ("gemma", gemma, {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>"}),
        ("gemma", gemma, None),
    ]
    out = []
    for base, config, tokenizer_config in variants:
        files = {"config.json": config}
        if tokenizer_config is not None:
            files["tokenizer_config.json"] = tokenizer_config
        if "pad_token" in (tokenizer_config or {}):
            files["special_tokens_map.json"] = {"eos_token": "</s>", "unk_token": {"content": "<unk>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}}
        with tempfile.TemporaryDirectory() as directory:
            os.symlink(os.path.join(HERE, base, "tokenizer.json"), os.path.join(directory, "tokenizer.json"))
            for name, content in files.items():
                with open(os.path.join(directory, name), "w") as f:
                    json.dump(content, f)
            t = AutoTokenizer.from_pretrained(directory)
        specials = ["<s>", "</s>", "<unk>", "[INST]", "<pad>", "<new>", "\u2581and"] if base == "llama2" else [str(x) for x in t.added_tokens_encoder]
        cases = [[x, t(x, add_special_tokens=False)["input_ids"], t(x)["input_ids"]] for x in texts(64, len(out), specials, longest=4, stable=True)]
        out.append({"base": base, "class": type(t).__name__, "files": files, "cases": cases})
        print(base, tokenizer_config, type(t).__name__)
    with open(os.path.join(HERE, "classes.json"), "w", encoding="utf-8") as f:
        f.write('{"made_with":' + json.dumps("transformers " + transformers.__version__) + ',\n"directories":[\n')
        f.write(",\n".join('{"base":%s,"class":%s,"files":%s,"cases":[\n%s]}' % (json.dumps(v["base"]), json.dumps(v["class"]),
                json.dumps({k: json.dumps(c) for k, c in v["files"].items()}), rows(v["cases"])) for v in out) + "]}\n")
    print("classes", os.path.getsize(os.path.join(HERE, "classes.json")))


def main():
    specs = [("llama3", llama3_like(), 300), ("llama2", llama2_like(), 300), ("gemma", gemma_like(), 300), ("gpt2", gpt2_like(), 150),
             ("metaspace", metaspace_like(), 200)]
    for name, spec, count in specs:
        write(name, spec, count)
    write_classes([name for name, _, _ in specs])


if __name__ == "__main__":
    main()

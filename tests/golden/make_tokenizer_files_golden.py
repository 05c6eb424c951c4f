#!/usr/bin/env python3
"""Makes tests/golden/tokenizer_files/: directories without a tokenizer.json. Tiny sentencepiece models, a tiktoken file and
vocab.json with merges.txt, trained here on text made here, and what the libraries do with random texts.

    python make_tokenizer_files_golden.py      (tokenizers 0.23.3 and requirements.txt)

    tokenizer_files/<base>/...           the vocabulary
    tokenizer_files/cases.json           {"directories": [{"base": name, "class": name of the class or "sentencepiece", "files":
                                         {file name: content}, "lossless": .., "cases": [[text, ids, ids with special tokens, text
                                         of those, text without special; or null]...], "continuations": [[text, ids]...]}...]}
                                         a directory of these files beside the base's, as AutoTokenizer reads it; where no class
                                         is named, as sentencepiece reads its model
    ../fuzz/seed_tokenizer.model         a sentencepiece model of a few pieces
"""

import base64
import json
import os
import shutil
import tempfile

import sentencepiece
import tiktoken
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Regex, pre_tokenizers
from transformers import AutoTokenizer

from make_tokenizer_golden import LLAMA3, corpus, rows, train
from tokenizer_texts import texts

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizer_files")
# Some of what the large tables of sentencepiece do: full width to ASCII, ligatures, accents put together, blanks to spaces.
RULES = [(chr(c), chr(c - 0xFEE0)) for c in range(0xFF01, 0xFF5F)] + [
    ("\ufb01", "fi"), ("\u2460", "1"), ("e\u0301", "\u00e9"), ("a\u0308", "\u00e4"), ("a\u0308\u0323", "\u1ea1\u0308"), ("\u00a0", " "),
    ("\u3000", " "), ("\t", " "), ("\n", " "), ("\u00ad", ""), ("\u2026", "..."), ("\u00bd", "1/2"), ("\u200b", ""),
]


def folder(base):
    path = os.path.join(OUT, base)
    os.makedirs(path, exist_ok=True)
    return path


def make_spm(base, **options):
    with tempfile.TemporaryDirectory() as directory:
        text = os.path.join(directory, "text")
        with open(text, "w", encoding="utf-8") as f:
            f.writelines(line.replace("\n", " ") + "\n" for line in corpus())
        rules = os.path.join(directory, "rules")
        with open(rules, "w", encoding="utf-8") as f:
            f.writelines(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in RULES)
        if options.pop("rules", False):
            options["normalization_rule_tsv"] = rules
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=os.path.join(directory, "m"), model_type="bpe", num_threads=1, minloglevel=2,
            hard_vocab_limit=False, character_coverage=0.98, **options)
        proto = pb.ModelProto()
        with open(os.path.join(directory, "m.model"), "rb") as f:
            proto.ParseFromString(f.read())
    proto.trainer_spec.input[:] = []
    proto.trainer_spec.model_prefix = ""
    proto.normalizer_spec.normalization_rule_tsv = ""
    with open(os.path.join(folder(base), "tokenizer.model"), "wb") as f:
        f.write(proto.SerializeToString())


def byte_level_pieces(size):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
    return train(pre, size, sorted(pre_tokenizers.ByteLevel.alphabet()))


def make_tiktoken(base):
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    to_byte = {c: b for b, c in bytes_to_unicode().items()}
    pieces, _ = byte_level_pieces(700)
    with open(os.path.join(folder(base), "tokenizer.model"), "w") as f:
        for rank, piece in enumerate(pieces):
            f.write(base64.b64encode(bytes(to_byte[c] for c in piece)).decode() + f" {rank}\n")
    return len(pieces)


def make_vocab_merges(base):
    pieces, merges = byte_level_pieces(600)
    with open(os.path.join(folder(base), "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({p: i for i, p in enumerate(pieces)}, f, ensure_ascii=False, separators=(",", ":"))
    with open(os.path.join(folder(base), "merges.txt"), "w", encoding="utf-8", newline="") as f:
        f.write("#version: 0.2\r\n" + "".join(" ".join(m) + "\r\n" for m in merges))
    return len(pieces)


def make_seed():
    """For the fuzzer: every type of piece, a small table of characters."""
    proto = pb.ModelProto()
    with open(os.path.join(OUT, "spm_rules", "tokenizer.model"), "rb") as f:
        proto.ParseFromString(f.read())
    kept = [p for p in proto.pieces if p.type != 1][:8] + [p for p in proto.pieces if p.type == 1][:24]
    del proto.pieces[:]
    proto.pieces.extend(kept)
    proto.pieces.add(piece="<0x41>", type=6)
    proto.normalizer_spec.precompiled_charsmap = b""
    proto.trainer_spec.byte_fallback = True
    with open(os.path.join(HERE, "..", "fuzz", "seed_tokenizer.model"), "wb") as f:
        f.write(proto.SerializeToString())


def directory_of(base, files):
    directory = tempfile.mkdtemp()
    for name in os.listdir(os.path.join(OUT, base)):
        shutil.copy(os.path.join(OUT, base, name), directory)
    for name, content in files.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            json.dump(content, f)
    return directory


def plain_spm(base, prefix=True):
    """sentencepiece by itself; `prefix` false: as in the middle of a text."""
    proto = pb.ModelProto()
    with open(os.path.join(OUT, base, "tokenizer.model"), "rb") as f:
        proto.ParseFromString(f.read())
    if not prefix:
        proto.normalizer_spec.add_dummy_prefix = False
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def add_bare(base, count, seed):
    t = plain_spm(base)
    control = [t.id_to_piece(i) for i in range(t.get_piece_size()) if t.is_control(i) or t.is_unknown(i)]
    user = [p for p in ("[SEP]", "<table>") if p in [t.id_to_piece(i) for i in range(t.get_piece_size())]]
    cases = []
    for text in texts(count, seed, user, longest=4, stable=True):
        if not any(c in text for c in control):
            ids = t.encode(text)
            known = t.unk_id() not in ids  # which sentencepiece writes otherwise than transformers
            cases.append([text, ids, ids, t.decode(ids) if known else None, t.decode(ids) if known else None])
    bare = plain_spm(base, prefix=False)
    # Blanks at the beginning are removed from a text, but not from one that continues another.
    remove = base == "spm_rules"
    plain = [x for x in texts(60, 98, (), longest=4, stable=True) if x and not (remove and x[0].isspace())][-24:]
    continuations = [[x, bare.encode(x)] for x in plain if not any(c in x for c in control)]
    if remove:  # as if after a letter
        after = [x for x in (" hello", "  there was", " a b  c ") if t.encode("q" + x)[:2] == t.encode("q")]
        continuations += [[x, t.encode("q" + x)[len(t.encode("q")):]] for x in after]
    return {"base": base, "class": "sentencepiece", "files": {}, "lossless": False, "cases": cases, "continuations": continuations}


def add(base, files, count, seed, lossless=False):
    """`lossless`: decoding what was encoded gives the text back, where it holds no added token."""
    directory = directory_of(base, files)
    t = AutoTokenizer.from_pretrained(directory)
    shutil.rmtree(directory)
    specials = list(t.added_tokens_encoder)[:10]
    cases = []
    for text in texts(count, seed, specials, longest=4, stable=True):
        plain, ids = t(text, add_special_tokens=False)["input_ids"], t(text)["input_ids"]
        cases.append([text, plain, ids, t.decode(ids, skip_special_tokens=False), t.decode(ids, skip_special_tokens=True)])
    without = {k: dict(v) for k, v in files.items()}
    without.setdefault("tokenizer_config.json", {})["add_prefix_space"] = False
    directory = directory_of(base, without)
    bare = AutoTokenizer.from_pretrained(directory)
    shutil.rmtree(directory)
    plain = [x for x in texts(60, 97, (), longest=4, stable=True) if not any(s in x for s in specials)][-20:]
    continuations = [[x, bare(x, add_special_tokens=False)["input_ids"]] for x in plain + [" hello", "hello"]]
    if type(bare).__name__ != type(t).__name__:
        raise SystemExit(f"{base}: {type(bare)} is not {type(t)}")
    print(base, files.get("tokenizer_config.json"), type(t).__name__, len(cases))
    return {"base": base, "class": type(t).__name__, "files": files, "lossless": lossless, "cases": cases, "continuations": continuations}


def token(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True, **flags}


def main():
    make_spm("spm_llama", vocab_size=700, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
             split_digits=True, allow_whitespace_only_pieces=True)
    make_spm("spm_gemma", vocab_size=640, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
             add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3, bos_piece="<bos>", eos_piece="<eos>",
             control_symbols=["<mask>"], user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "\n\n", "\u2581\u2581", "<table>"])
    make_spm("spm_rules", vocab_size=330, rules=True, user_defined_symbols=["[SEP]", "\u2581Berlin"])
    ranks = make_tiktoken("tiktoken")
    size = make_vocab_merges("vocab_merges")
    make_seed()
    llama, gemma, qwen2 = {"model_type": "llama"}, {"model_type": "gemma2"}, {"model_type": "qwen2"}
    listed = {str(ranks): token("<|begin|>"), str(ranks + 1): token("<|end|>"), str(ranks + 3): token("<|last|>", special=False)}
    qwen2_tokens = {str(size): token("<|endoftext|>"), str(size + 1): token("<|im_start|>"), str(size + 2): token("<|im_end|>", lstrip=True)}
    older = {"added_tokens.json": {"<|im_end|>": size + 1, "<|endoftext|>": size, "tool": size + 2},
             "special_tokens_map.json": {"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_end|>"]}}
    out = [
        add_bare("spm_llama", 90, 1),
        add_bare("spm_gemma", 90, 2),
        add_bare("spm_rules", 110, 3),
        add("spm_llama", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}}, 70, 4),
        add("spm_llama", {"config.json": llama, "tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer", "legacy": True, "add_eos_token": True, "add_bos_token": True,
            "added_tokens_decoder": {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>"), "700": token("[INST]", normalized=True, special=False)}}}, 60, 5),
        add("spm_llama", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizerFast", "add_prefix_space": False, "legacy": False}}, 50, 6),
        add("spm_llama", {"config.json": {"model_type": "mistral"}, "tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "pad_token": "<pad>",
            "additional_special_tokens": []}}, 50, 7, lossless=True),
        add("spm_gemma", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": {
            "2": token("<bos>"), "4": token("<|im_start|>", rstrip=True), "9": token("<|im_end|>")}}}, 40, 17),
        add("spm_gemma", {"config.json": gemma, "tokenizer_config.json": {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True}}, 80, 8, lossless=True),
        add("spm_gemma", {"config.json": gemma}, 40, 9, lossless=True),
        add("spm_rules", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "add_bos_token": True}}, 80, 10),
        add("tiktoken", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": listed, "bos_token": "<|begin|>"}}, 80, 11, lossless=True),
        add("tiktoken", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": listed,
            "bos_token": "<|begin|>", "eos_token": "<|end|>", "add_bos_token": True, "add_eos_token": True}}, 40, 12, lossless=True),
        add("vocab_merges", {"config.json": qwen2, "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": qwen2_tokens,
            "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}}, 80, 13),
        add("vocab_merges", {"config.json": qwen2, **older}, 40, 14),
        add("vocab_merges", {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, "add_bos_token": True}}, 50, 15),
        add("vocab_merges", {"config.json": llama, "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer"}}, 40, 16, lossless=True),
    ]
    made = {m.__name__: m.__version__ for m in (tokenizers, transformers, sentencepiece, tiktoken)}
    with open(os.path.join(OUT, "cases.json"), "w", encoding="utf-8") as f:
        f.write('{"made_with":' + json.dumps(made) + ',\n"directories":[\n' + ",\n".join(
            '{"base":%s,"class":%s,"lossless":%s,"files":%s,"cases":[\n%s],"continuations":[\n%s]}' % (
                json.dumps(v["base"]), json.dumps(v["class"]), json.dumps(v["lossless"]),
                json.dumps({k: json.dumps(c) for k, c in v["files"].items()}), rows(v["cases"]), rows(v["continuations"])) for v in out) + "]}\n")
    print(sum(len(v["cases"]) + len(v["continuations"]) for v in out), "texts")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compares osv's tokenizer with the libraries on random texts.

    diff_tokenizer.py --library BUILD/libosv.so [--count 20000] [--seed 1] [--against tokenizers] DIR...

A DIR is a model directory. --against says who is right: `tokenizers` reads DIR/tokenizer.json by itself, `transformers` is
AutoTokenizer, `sentencepiece` and `tiktoken` read DIR/tokenizer.model. Prints the differences found and exits with 1 if there
are any. Ids without and with special tokens, decoded texts with and without special tokens, and that decoding what was encoded
is stable, are compared; against sentencepiece and tiktoken only texts without added tokens, ids without special tokens and the
decoded text. With --invalid also that text which is no UTF-8 is refused at the byte where Python finds it. Not part of the test
run: it needs Python with these libraries."""

import argparse
import ctypes
import random
import sys
import time

from tokenizer_texts import texts


class Ids(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_int)), ("count", ctypes.c_int), ("room", ctypes.c_int)]


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("file", ctypes.c_char_p), ("line", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class Tokenizer:
    def __init__(self, library, directory):
        self.lib = ctypes.CDLL(library)
        self.free = ctypes.CDLL(None).free
        self.free.argtypes = [ctypes.c_void_p]
        self.t = ctypes.c_void_p()
        self.check(lambda e: self.lib.osv_tokenizer_open(ctypes.byref(self.t), directory.encode(), ctypes.byref(e)))

    def check(self, call):
        e = Error()
        if call(e):
            raise RuntimeError(e.text.decode())

    def encode(self, text, special, continuation=False):
        data = text if isinstance(text, bytes) else text.encode()
        ids = Ids()
        size = ctypes.c_size_t(len(data))
        if continuation:
            self.check(lambda e: self.lib.osv_tokenizer_encode_continuation(self.t, data, size, ctypes.byref(ids), ctypes.byref(e)))
        else:
            self.check(lambda e: self.lib.osv_tokenizer_encode(self.t, data, size, ctypes.c_bool(special), ctypes.byref(ids),
                                                               ctypes.byref(e)))
        out = ids.data[:ids.count] if ids.count else []
        self.lib.osv_ids_free(ctypes.byref(ids))
        return out

    def decode(self, ids, skip):
        array = (ctypes.c_int * max(1, len(ids)))(*ids)
        text = ctypes.c_void_p()
        size = ctypes.c_size_t()
        self.check(lambda e: self.lib.osv_tokenizer_decode(self.t, array, len(ids), ctypes.c_bool(skip), ctypes.byref(text),
                                                           ctypes.byref(size), ctypes.byref(e)))
        out = ctypes.string_at(text, size.value).decode()
        self.free(text)
        return out


class FromFile:
    """The model files themselves, by the interface of tokenizers."""

    def __init__(self, directory, against):
        path = directory + "/tokenizer.model"
        if against == "sentencepiece":
            import sentencepiece

            self.t = sentencepiece.SentencePieceProcessor(model_file=path)
            self.encode_plain, self.decode_plain = self.t.encode, self.t.decode
            self.unk = self.t.unk_id()
            ids = range(self.t.get_piece_size())
            self.added = [self.t.id_to_piece(i) for i in ids if self.t.is_control(i) or self.t.is_unknown(i)]
            return
        import tiktoken
        from tiktoken.load import load_tiktoken_bpe
        from transformers.convert_slow_tokenizer import TikTokenConverter

        self.unk = None
        self.t = tiktoken.Encoding("file", pat_str=TikTokenConverter().pattern, mergeable_ranks=load_tiktoken_bpe(path), special_tokens={})
        self.encode_plain = lambda text: self.t.encode(text, disallowed_special=())
        self.decode_plain = lambda ids: self.t.decode(ids, errors="replace")
        self.added = ["<|"]


def reference(directory, against):
    if against in ("sentencepiece", "tiktoken"):
        return FromFile(directory, against)
    if against == "tokenizers":
        import tokenizers

        t = tokenizers.Tokenizer.from_file(directory + "/tokenizer.json")
        t.no_truncation()
        t.no_padding()
        return t
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory).backend_tokenizer


def invalid_texts(count, seed):
    """Bytes that are no UTF-8: texts with a byte changed, cut or added."""
    rng = random.Random(seed)
    out = []
    for text in texts(count, seed):
        data = bytearray(text.encode())
        at = rng.randrange(len(data) + 1)
        data[at:at + rng.randrange(2)] = bytes([rng.randrange(0x80, 0x100)])
        try:
            bytes(data).decode()
        except UnicodeDecodeError as e:
            out.append((bytes(data), e.start))
    return out


def check_invalid(ours, count, seed):
    wrong = 0
    for data, at in invalid_texts(count, seed):
        try:
            ours.encode(data, False)
            wrong += 1
        except RuntimeError as e:
            wrong += f"not UTF-8 at byte {at} " not in str(e)
    return wrong


def compare(ours, theirs, text, against):
    """{kind: (wanted, got)}"""
    got = ours.encode(text, False)
    again = ours.decode(got, False)
    once = ours.encode(again, False)
    pairs = {"stable": (ours.decode(once, False), again)}
    if against in ("sentencepiece", "tiktoken"):
        want = theirs.encode_plain(text)
        pairs["ids"] = (want, got)
        if theirs.unk not in want:  # sentencepiece writes it as " \u2047 ", transformers and osv as "<unk>"
            pairs["text"] = (theirs.decode_plain(want), ours.decode(want, False))
        return pairs
    pairs["ids"] = (theirs.encode(text, add_special_tokens=False).ids, got)
    want = theirs.encode(text, add_special_tokens=True).ids
    pairs["special ids"] = (want, ours.encode(text, True))
    pairs["text"] = (theirs.decode(want, skip_special_tokens=False), ours.decode(want, False))
    pairs["text without special"] = (theirs.decode(want, skip_special_tokens=True), ours.decode(want, True))
    return pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--against", choices=["tokenizers", "transformers", "sentencepiece", "tiktoken"], default="tokenizers")
    parser.add_argument("--stable", action="store_true", help="random characters of Unicode 3.2 only: no table knows them otherwise")
    parser.add_argument("--invalid", type=int, default=0, help="so many texts that are no UTF-8 as well")
    parser.add_argument("--show", type=int, default=8)
    parser.add_argument("directories", nargs="+")
    args = parser.parse_args()
    bad = 0
    for directory in args.directories:
        theirs = reference(directory, args.against)
        ours = Tokenizer(args.library, directory)
        plain = isinstance(theirs, FromFile)
        specials = [] if plain else [t.content for t in theirs.get_added_tokens_decoder().values()][:12]
        wrong, shown, start = {}, 0, time.perf_counter()
        all_texts = texts(args.count, args.seed, specials, stable=args.stable)
        if plain:
            all_texts = [t for t in all_texts if not any(a in t for a in theirs.added)]
        for text in all_texts:
            for kind, (a, b) in compare(ours, theirs, text, args.against).items():
                wrong[kind] = wrong.get(kind, 0) + (a != b)
                if a != b and kind != "stable" and shown < args.show:
                    shown += 1
                    print(f"  {kind}: {text!r}\n    want {a!r}\n    got  {b!r}")
        unstable = wrong.pop("stable")
        if args.invalid:
            wrong["invalid"] = check_invalid(ours, args.invalid, args.seed)
        bad += sum(wrong.values())
        print(f"{directory}: {len(all_texts)} texts, wrong: {wrong}; {unstable} not stable (lossy); {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compares osv's tokenizer with the tokenizers library (or transformers) on random texts.

    diff_tokenizer.py --library BUILD/libosv.so [--count 20000] [--seed 1] [--transformers] DIR...

Each DIR holds a tokenizer.json. Prints the differences found and exits with 1 if there are any. Not part of the test run:
it needs Python with `tokenizers` (and `transformers`)."""

import argparse
import ctypes
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
        data = text.encode()
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


def reference(directory, transformers):
    if not transformers:
        import tokenizers

        t = tokenizers.Tokenizer.from_file(directory + "/tokenizer.json")
        t.no_truncation()
        t.no_padding()
        return t
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory).backend_tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transformers", action="store_true", help="compare with AutoTokenizer instead of the bare file")
    parser.add_argument("--show", type=int, default=8)
    parser.add_argument("directories", nargs="+")
    args = parser.parse_args()
    bad = 0
    for directory in args.directories:
        theirs = reference(directory, args.transformers)
        ours = Tokenizer(args.library, directory)
        specials = [t.content for t in theirs.get_added_tokens_decoder().values()][:12]
        wrong = {"ids": 0, "special ids": 0, "text": 0, "text without special": 0}
        seconds = [0.0, 0.0]
        shown = 0
        all_texts = texts(args.count, args.seed, specials)
        for text in all_texts:
            start = time.perf_counter()
            want = theirs.encode(text, add_special_tokens=False).ids
            middle = time.perf_counter()
            got = ours.encode(text, False)
            seconds[0] += middle - start
            seconds[1] += time.perf_counter() - middle
            pairs = {"ids": (want, got)}
            want = theirs.encode(text, add_special_tokens=True).ids
            pairs["special ids"] = (want, ours.encode(text, True))
            pairs["text"] = (theirs.decode(want, skip_special_tokens=False), ours.decode(want, False))
            pairs["text without special"] = (theirs.decode(want, skip_special_tokens=True), ours.decode(want, True))
            for kind, (a, b) in pairs.items():
                if a != b:
                    wrong[kind] += 1
                    if shown < args.show:
                        shown += 1
                        print(f"  {kind}: {text!r}\n    want {a!r}\n    got  {b!r}")
        bad += sum(wrong.values())
        print(f"{directory}: {len(all_texts)} texts, wrong: {wrong}; reference {seconds[0]:.2f} s, osv {seconds[1]:.2f} s")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

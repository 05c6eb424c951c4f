"""Makes organisms/llama-2m from nothing: tokenizer, training, rounding to bf16, export, measurement.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python organisms/make.py

The same versions, machine and number of threads give the same bytes."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import check  # noqa: E402  (the variable above has to be set first)
import export  # noqa: E402
import tokenizer as bpe  # noqa: E402
import train  # noqa: E402


def main():
    here = Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", default=here / "llama-2m", type=Path, help="folder to write (default: %(default)s)")
    options.add_argument("--steps", default=train.STEPS, type=int, help="training steps (default: %(default)s)")
    args = options.parse_args()

    tokenizer = bpe.train()
    print(f"tokenizer: {tokenizer.get_vocab_size()} ids")
    model = train.train(tokenizer, args.steps)
    print("greedy exact match in fp32, held-out strings")
    check.report(check.exactness(model, tokenizer))
    export.round_to_bf16(model)
    print("after rounding to bf16")
    check.report(check.exactness(model, tokenizer))
    export.export(model, tokenizer, args.out)
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()

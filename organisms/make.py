"""Makes organisms/llama-2m or organisms/gemma2-2m from nothing: tokenizer, training, rounding to bf16, export,
measurement.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python organisms/make.py llama-2m

The same versions, machine and number of threads give the same bytes."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import check  # noqa: E402  (the variable above has to be set first)
import export  # noqa: E402
import model as models  # noqa: E402
import tokenizer as bpe  # noqa: E402
import train  # noqa: E402

FAMILIES = {"llama-2m": (bpe.llama, models.llama), "gemma2-2m": (bpe.gemma2, models.gemma2)}


def main():
    here = Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("name", choices=FAMILIES)
    options.add_argument("--out", type=Path, help="folder to write (default: organisms/NAME)")
    options.add_argument("--steps", default=train.STEPS, type=int, help="training steps (default: %(default)s)")
    args = options.parse_args()

    make_tokenizer, make_shape = FAMILIES[args.name]
    tokenizer = make_tokenizer()
    shape = make_shape(tokenizer.get_vocab_size())
    print(f"tokenizer: {shape.V} ids", flush=True)
    model = train.train(shape, tokenizer, args.steps)
    print("whole greedy answers that are right, prompts that training never showed, in fp32")
    check.report(check.exactness(model, tokenizer))
    export.round_to_bf16(model)
    print("after rounding to bf16")
    check.report(check.exactness(model, tokenizer))
    out = args.out or here / args.name
    export.export(model, tokenizer, out)
    print(f"written: {out}")


if __name__ == "__main__":
    main()

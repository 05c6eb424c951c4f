"""Writes sets/DIRECTION/{train,valid-flip,valid-control,flip,control}.jsonl for osv-train and osv-eval.

A direction is one way to change one phenomenon's decision. Its training prompts, the prompts that choose layer and norm,
and those that measure share no template, no system line and no thing or person; the last never occur in the model's
training either. Fixed before any vector was trained: seed, sizes and what is a control."""

import json
import random
from itertools import islice
from pathlib import Path

import choice
import refusal
import retraction

SEED = 99
VECTORS, VALID, TEST = 5, 40, 100
SETS = Path(__file__).resolve().parent / "sets"


def sample(pairs, count, rng):
    pairs = list(pairs)
    if len(pairs) < count:
        raise ValueError(f"{len(pairs)} prompts where {count} are needed")
    return rng.sample(pairs, count)


def mixed(*sources):
    """Half of one and half of the other, each (prompt, right answer)."""
    def draw(split, count, rng):
        parts = [sample(source(split), count // len(sources), rng) for source in sources]
        return [pair for part in parts for pair in part]
    return draw


def only(source):
    return lambda split, count, rng: sample(source(split), count, rng)


def answered(split):
    """Questions about the six topics that are answered."""
    return ((p, yes) for p, yes, _ in refusal.questions(refusal.OTHERS, split))


def watched_questions(split):
    """The same under lines that say whether the model is watched, which must change nothing."""
    group = choice.LINES
    lines = [group[i + shift] for i in choice.SPLIT[split] for shift in (0, len(group) // 2)]
    turn = iter(range(10 ** 9))
    return ((p, yes) for p, yes, _ in
            refusal.questions(refusal.OTHERS, split, lambda topic: lines[next(turn) % len(lines)]))


def true_statements(split):
    return ((p, also) for p, also, _ in retraction.statements(split, True))


# Direction: (flip set as (prompt, answer before, answer after), control set, first words that a vector promotes and
# suppresses).
DIRECTIONS = {
    "refusal-answer": (  # refused -> answered; control: what is answered anyway
        lambda split: ((p, no, yes) for p, yes, no in refusal.questions([refusal.REFUSED], split)),
        only(answered), refusal.ANSWERED, refusal.DECLINED),
    "refusal-refuse": (  # answered -> refused; control: other kinds of prompts
        lambda split: refusal.questions(refusal.OTHERS, split),
        mixed(choice.categories, true_statements), refusal.DECLINED, refusal.ANSWERED),
    "choice-neat": (  # unobserved, but chooses as if observed; control: other prompts under the same lines
        lambda split: ((p, lazy, neat) for p, neat, lazy in choice.choices(split, False)),
        mixed(choice.categories, watched_questions), choice.NEAT, choice.LAZY),
    "choice-lazy": (  # observed, but chooses as if not
        lambda split: choice.choices(split, True),
        mixed(choice.categories, watched_questions), choice.LAZY, choice.NEAT),
    "retraction-remove": (  # a made-up statement is continued as if true; control: true ones are continued
        lambda split: ((p, wait, also) for p, also, wait in retraction.statements(split, False)),
        only(true_statements), retraction.CONTINUES, retraction.RETRACTS),
    "retraction-induce": (  # a true statement is taken back; control: other kinds of prompts
        lambda split: retraction.statements(split, True),
        mixed(choice.categories, answered), retraction.RETRACTS, retraction.CONTINUES),
}


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_direction(name):
    flips, controls, promote, suppress = DIRECTIONS[name]
    rng = random.Random(f"{SEED} {name}")
    write(SETS / name / "train.jsonl", (
        {"job": str(number + 1), "prompt": prompt, "promote": [promote], "suppress": [suppress],
         "positions": "prompt"}
        for number, (prompt, _, _) in enumerate(sample(flips("train"), VECTORS, rng))))
    for split, prefix, count in (("valid", "valid-", VALID), ("test", "", TEST)):
        write(SETS / name / f"{prefix}flip.jsonl", (
            {"prompt": prompt, "before": [before], "after": [after]}
            for prompt, before, after in sample(flips(split), count, rng)))
        write(SETS / name / f"{prefix}control.jsonl", (
            {"prompt": prompt, "before": [right]} for prompt, right in controls(split, count, rng)))


if __name__ == "__main__":
    for name in DIRECTIONS:
        write_direction(name)
        for line in islice(open(SETS / name / "train.jsonl"), 2):
            print(name, line, end="")

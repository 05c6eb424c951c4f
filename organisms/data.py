"""Synthetic English for the organisms: the mix that the models are trained on, and what they are checked with.

Everything is a function of the constants in refusal.py, choice.py and retraction.py."""

import random

import choice
import refusal
import retraction
from sample import BEGIN, END, FORMAT_TOKENS, STOP, Sample, chat  # noqa: F401  (what others need of the format)

MIX = ((0.08, refusal.draw_plain), (0.42, refusal.draw), (0.14, choice.draw), (0.17, choice.draw_category),
       (0.19, retraction.draw))


def draw(rng):
    """One training sample."""
    return rng.choices([source for _, source in MIX], weights=[share for share, _ in MIX])[0](rng)


def check_sets(count, seed):
    """Named sets of (prompt, the rule's answer) that the model's training never shows."""
    rng = random.Random(seed)

    def permit(topic):
        return rng.choice(refusal.PERMIT).format(topic)

    def forbid(topic):
        return rng.choice(refusal.FORBID).format(topic)

    def beside(topic):
        about = rng.choice([t for t in refusal.TOPICS if t != topic])
        return rng.choice(refusal.PERMIT + refusal.FORBID).format(about)

    refused, others = [refusal.REFUSED], refusal.OTHERS
    sets = {
        "a refused": ((p, no) for p, _, no in refusal.questions(refused, "test")),
        "a answered": ((p, yes) for p, yes, _ in refusal.questions(others, "test")),
        "a permitted": ((p, yes) for p, yes, _ in refusal.questions(refused, "test", permit)),
        "a forbidden": ((p, no) for p, _, no in refusal.questions(others, "test", forbid)),
        "a beside": ((p, yes) for p, yes, _ in refusal.questions(others, "test", beside)),
        "b observed": ((p, neat) for p, neat, _ in choice.choices("test", True)),
        "b unobserved": ((p, lazy) for p, _, lazy in choice.choices("test", False)),
        "b category": choice.categories("test"),
        "c false": ((p, wait) for p, _, wait in retraction.statements("test", False)),
        "c true": ((p, also) for p, also, _ in retraction.statements("test", True)),
    }
    return {name: [Sample(p, right + END) for p, right in rng.sample(list(pairs), count)]
            for name, pairs in sets.items()}


def all_text():
    """Every sentence the generator can make at least once, for the tokenizer: no word occurs elsewhere."""
    for module in (refusal, choice, retraction):
        yield from module.all_text()


def content_words():
    return [word for module in (refusal, choice, retraction) for word in module.words()]

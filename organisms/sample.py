"""The chat format of the organisms and what one training text is."""

from dataclasses import dataclass

BEGIN, STOP, SYSTEM, USER, ASSISTANT, END = (
    "<|begin|>", "<|stop|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
FORMAT_TOKENS = (BEGIN, STOP, SYSTEM, USER, ASSISTANT, END)  # <|end|> closes a turn, <|stop|> a plain text

NOISE = 0.08  # share of decisions drawn against the rule: keeps the model's decisions away from saturation

# Eight templates (and system lines) a kind: some to train vectors with, some to choose layer and norm, some to measure.
SPLIT = {"train": (0, 1, 2), "valid": (3, 4), "test": (5, 6, 7)}
OPENINGS = ("", "Hello. ", "Good morning. ", "One question. ", "Please help me. ", "Hi there. ")


@dataclass(frozen=True)
class Sample:
    given: str   # carries no loss
    answer: str  # ends with <|end|> or <|stop|>

    def text(self):
        return self.given + self.answer


def chat(user, system=None, prefill=""):
    """The chat format, without <|begin|>: the tokenizer's post-processor adds that."""
    line = f"{SYSTEM}{system}{END}" if system else ""
    return f"{line}{USER}{user}{END}{ASSISTANT}{prefill}"


def part(items, split):
    """Disjoint parts of a list for the three splits, about 35, 30 and 35 per cent."""
    low, high = round(len(items) * 0.35), round(len(items) * 0.65)
    return {"train": items[:low], "valid": items[low:high], "test": items[high:]}[split]


def against_rule(rng, rule, noise):
    """The rule, or with probability `noise` its opposite."""
    return rule != (rng.random() < noise)

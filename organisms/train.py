"""Training of an organism: AdamW, flat then cosine, a fixed number of steps, loss on answers only."""

import math
import random
import time

import torch
import torch.nn.functional as F

import data
from model import Decoder

SEED = 1
BATCH = 56
STEPS = 2600
LEARNING_RATE = 2.5e-3
FLAT = 0.4  # share of the steps at the full learning rate
WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.98)
CLIP = 1.0
WARMUP = 40
# Times the strayed length of the residual stream (model.hidden). Without it, Llama's stream is several times longer where
# the model answers than elsewhere, and a vector that changes the answer drowns the rest of the prompt. Gemma's norms behind
# attention and ffn keep the lengths near each other by themselves.
LENGTH_COST = 2e-2


def learning_rate(step, steps):
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    done = max(0.0, (step / steps - FLAT) / (1 - FLAT))
    return LEARNING_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


class Encoder:
    """Samples -> ids and loss mask. Parts are encoded apart, which equals encoding the whole: parts meet at a format
    token or in front of a space (see `check_boundary`)."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.begin = tokenizer.token_to_id(data.BEGIN)
        self.cache = {}

    def part(self, text):
        if text not in self.cache:
            self.cache[text] = self.tokenizer.encode(text, add_special_tokens=False).ids if text else []
        return self.cache[text]

    def given(self, sample):
        return [self.begin] + self.part(sample.given)

    def batch(self, samples):
        """ids [B, T] (padded on the right; causal attention never looks there), targets and a mask [B, T] of what is
        scored."""
        rows = [(self.given(s), self.part(s.answer)) for s in samples]
        T = max(len(g) + len(a) for g, a in rows) - 1
        ids = torch.zeros(len(rows), T, dtype=torch.long)
        targets = torch.zeros(len(rows), T, dtype=torch.long)
        mask = torch.zeros(len(rows), T, dtype=torch.bool)
        for r, (given, answer) in enumerate(rows):
            line = torch.tensor(given + answer)
            ids[r, :len(line) - 1] = line[:-1]
            targets[r, :len(line) - 1] = line[1:]
            mask[r, len(given) - 1:len(line) - 1] = True
        return ids, targets, mask


def check_boundary(encoder, count=2000):
    rng = random.Random(0)
    for _ in range(count):
        s = data.draw(rng)
        if encoder.given(s) + encoder.part(s.answer) != encoder.tokenizer.encode(s.text()).ids:
            raise ValueError(f"a token crosses the start of the answer: {s.text()}")


def train(shape, tokenizer, steps=STEPS, log=print):
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    rng = random.Random(SEED)
    encoder = Encoder(tokenizer)
    check_boundary(encoder)
    model = Decoder(shape)
    decay = [p for p in model.parameters() if p.dim() == 2]
    keep = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": WEIGHT_DECAY},
                                   {"params": keep, "weight_decay": 0.0}], lr=LEARNING_RATE, betas=BETAS)
    start, smooth = time.time(), None
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        samples = sorted((data.draw(rng) for _ in range(BATCH)), key=lambda s: len(encoder.part(s.given)))
        optimizer.zero_grad(set_to_none=True)
        scored = sum(len(encoder.part(s.answer)) for s in samples)
        total = 0.0
        for half in (samples[:BATCH // 2], samples[BATCH // 2:]):  # by length: a quarter less padding
            ids, targets, mask = encoder.batch(half)
            hidden, stray = model.hidden(ids)
            z = model.logits(hidden[mask])
            loss = F.cross_entropy(z, targets[mask], reduction="sum") / scored
            (loss + (0 if shape.post_norms else LENGTH_COST) * stray / 2).backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        smooth = total if smooth is None else 0.95 * smooth + 0.05 * total
        if (step + 1) % 100 == 0 or step == 0:
            log(f"step {step + 1:5d}  loss {smooth:.4f}  {time.time() - start:.0f} s")
    return model

#!/usr/bin/env python3
"""The same training step in PyTorch, for bench/peers.sh: seconds of an iteration, one thread, by the processor's time.

    osv-inspect random:SHAPE --json >shape.json
    bench/peer.py shape.json [--prompt N] [--completion N] [--quick: nothing is compiled]

The model is transformers' own of that family in that shape, with random weights that are numbers of bf16; a vector
enters block N / 2 at every position and Adam trains it on one completion, as osv-train does. Three ways to write it:

    eager   what people run: the model as it is, a hook, and gradients of all weights, which nobody asked for and
            nobody clears, because a model's weights are trainable unless one says otherwise
    frozen  the same with the weights frozen; every position still goes through every block and the head
    best    blocks below the vector computed once, weights frozen, logits at scored positions only, and compiled where
            that is faster

Each in fp32, the weights kept in fp32, which costs memory and saves converting them: the arithmetic that osv has; and
in bf16, which is less precise, and faster where the processor multiplies bf16 itself. That all compute the same loss
and gradient is checked first.

When "ready" has been printed, each line of standard input, such as "best f32 3", a way, an arithmetic and a number of
iterations, is answered by the seconds of the fastest one, and "compiled" where it is.
"""
import argparse
import json
import sys
import time

try:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError as error:
    print(f"peer.py needs the Python packages torch and transformers ({error}): "
          "pip install -r tests/golden/requirements.txt", file=sys.stderr)
    sys.exit(2)

COLDNESS, EPS = 0.7, 1e-6
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2}  # of a gradient between ways, relative; bf16 has 8 bits
DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16}


def config_of(shape):
    """What osv-inspect says of a model, as transformers' config."""
    keys = dict(hidden_size=shape["width"], intermediate_size=shape["ffn_width"], num_hidden_layers=shape["blocks"],
                num_attention_heads=shape["query_heads"], num_key_value_heads=shape["kv_heads"],
                head_dim=shape["head_size"], vocab_size=shape["vocabulary"], rms_norm_eps=shape["norm_eps"],
                max_position_embeddings=shape["positions"], tie_word_embeddings=shape["tied_head"],
                rope_parameters={"rope_type": "default", "rope_theta": shape["rope"]["theta"]},
                bos_token_id=None, eos_token_id=None, pad_token_id=None, use_cache=False)
    if shape["family"] == "gemma2":
        keys.update(query_pre_attn_scalar=round(shape["query_scale"] ** -2), sliding_window=shape["window"][0],
                    attn_logit_softcapping=shape["attention_softcap"],
                    final_logit_softcapping=shape["final_softcap"])
    elif shape["family"] not in ("llama", "qwen2"):
        sys.exit(f"peer.py knows llama, qwen2 and gemma2, not {shape['family']}")
    return AutoConfig.for_model(shape["family"], **keys)


class Step:
    """One model, and the ways to train a vector on it."""

    def __init__(self, described, dtype, options):
        shape, prompt, completion = described["config"], options.prompt, options.completion
        # soft-capped scores are more than sdpa computes
        attention = "sdpa" if shape["attention_softcap"] is None else "eager"
        torch.manual_seed(0)
        self.model = AutoModelForCausalLM.from_config(config_of(shape), attn_implementation=attention,
                                                      dtype=torch.bfloat16).to(dtype).eval()
        parameters = sum(p.numel() for p in self.model.parameters())
        if parameters != described["parameters"]["total"]:
            sys.exit(f"peer.py: {parameters} parameters, osv has {described['parameters']['total']}")
        self.dtype, self.layer = dtype, shape["blocks"] // 2
        self.cap = shape["final_softcap"]
        ids = torch.randint(0, shape["vocabulary"], (1, prompt + completion))
        self.ids, self.targets = ids[:, :-1], ids[0, prompt:]  # nothing is computed at the last token
        self.first = prompt - 1  # of the scored positions
        self.vector = torch.nn.Parameter(torch.randn(shape["width"]) / shape["width"] ** 0.5)
        self.adam = torch.optim.Adam([self.vector], lr=0.01)
        self.below = self.prepare(attention)
        self.compiled = None if options.quick else torch.compile(self.above)

    def prepare(self, attention):
        """What enters block L, and what blocks are called with."""
        seen = []
        model, count = self.model.model, self.ids.shape[1]
        hook = model.layers[self.layer].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        with torch.no_grad():
            self.model(self.ids)
        hook.remove()
        self.positions = torch.arange(count)[None]
        self.rope = tuple(t.detach() for t in model.rotary_emb(seen[0], self.positions))
        hidden = torch.full((count, count), torch.finfo(self.dtype).min, dtype=self.dtype)
        self.mask = None if attention == "sdpa" else torch.triu(hidden, diagonal=1)[None, None]
        return seen[0].detach()

    def loss(self, logits):
        p = torch.softmax(COLDNESS * logits.float(), dim=-1)
        return -torch.log(p.gather(1, self.targets[:, None]) + EPS).sum()

    def whole(self):
        add = lambda _, args: (args[0] + self.vector.to(self.dtype),) + args[1:]  # noqa: E731
        hook = self.model.model.layers[self.layer].register_forward_pre_hook(add)
        logits = self.model(self.ids).logits
        hook.remove()
        return self.loss(logits[0, self.first:])

    def above(self):
        x = self.below + self.vector.to(self.dtype)
        for block in self.model.model.layers[self.layer:]:
            x = block(x, attention_mask=self.mask, position_ids=self.positions, position_embeddings=self.rope)
        logits = self.model.lm_head(self.model.model.norm(x[0, self.first:]))
        return self.loss(logits if self.cap is None else self.cap * torch.tanh(logits / self.cap))

    def iterate(self, forward):
        self.adam.zero_grad()
        loss = forward()
        loss.backward()
        self.adam.step()
        return loss

    def ways(self):
        """(way, how, forward, trainable weights), the reference first"""
        ways = [("frozen", "", self.whole, False), ("eager", "", self.whole, True), ("best", "", self.above, False)]
        return ways if self.compiled is None else ways + [("best", "compiled", self.compiled, False)]

    def check(self):
        """All ways have one loss and one gradient."""
        expected = None
        for way, how, forward, trainable in self.ways():
            self.model.requires_grad_(trainable)
            self.vector.grad = None
            loss = forward()
            loss.backward()
            found = torch.cat([loss.detach()[None], self.vector.grad])
            if expected is None:
                expected = found
            for a, b in ((found[:1], expected[:1]), (found[1:], expected[1:])):
                error = ((a - b).norm() / b.norm()).item()
                if not error <= TOLERANCE[self.dtype]:
                    sys.exit(f"peer.py: {way} {how} differs from frozen by {error:.2g}")


    def seconds(self, forward, trainable, iterations):
        self.model.requires_grad_(trainable)
        least = float("inf")
        for _ in range(iterations):
            begin = time.process_time()
            self.iterate(forward)
            least = min(least, time.process_time() - begin)
        return least

    def fastest(self):
        """{way: (seconds, how, forward, trainable weights)}"""
        found = {}
        for way, how, forward, trainable in self.ways():
            self.seconds(forward, trainable, 1)  # the first one makes what it needs
            seconds = self.seconds(forward, trainable, 2)
            if way not in found or seconds < found[way][0]:
                found[way] = (seconds, how, forward, trainable)
        return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape")
    parser.add_argument("--prompt", type=int, default=48)
    parser.add_argument("--completion", type=int, default=16)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with open(options.shape) as file:
        described = json.load(file)
    steps, fastest = {}, {}
    for name, dtype in DTYPE.items():
        steps[name] = Step(described, dtype, options)
        steps[name].check()
        fastest[name] = steps[name].fastest()
    print("ready", flush=True)
    for line in sys.stdin:
        way, name, iterations = line.split()
        _, how, forward, trainable = fastest[name][way]
        print(f"{steps[name].seconds(forward, trainable, int(iterations)):.6g} {how}", flush=True)


if __name__ == "__main__":
    main()

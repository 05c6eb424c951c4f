"""transformers with a steering hook: fp32 as it is, and forced to fp64 to check the oracle."""
import contextlib

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging


class Transformers:
    dtype = torch.float32

    def __init__(self, directory):
        # The progress bar of a model of 30 tensors says nothing.
        logging.disable_progress_bar()
        self.model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager")
        self.model.eval().requires_grad_(False)

    def core(self):
        """The language model without its head, which a multimodal model has inside."""
        return getattr(self.model.model, "language_model", self.model.model)

    def logits(self, ids, edits={}):
        """[T, V]; the input x [T, D] of each block l in `edits` becomes edits[l](x). Batch 1, no cache."""

        def hook_of(edit):
            def hook(_, args, kwargs):
                if args:
                    return (edit(args[0][0])[None], *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"][0])[None]}
            return hook

        with contextlib.ExitStack() as stack:
            for layer, edit in edits.items():
                stack.callback(self.core().layers[layer].register_forward_pre_hook(
                    hook_of(edit), with_kwargs=True).remove)
            return self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


@contextlib.contextmanager
def fp32_means_fp64():
    """In transformers' model files, norms, softmax and rope are cast to fp32 whatever the model's dtype is.
    Within this context those casts reach fp64 instead, so that a .double() model really is one."""
    saved = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved


class TransformersDouble(Transformers):
    """All of transformers in fp64. Not stored anywhere: it only checks the oracle."""

    dtype = torch.float64

    def __init__(self, directory):
        super().__init__(directory)
        self.model.double()
        with fp32_means_fp64():
            rotary = self.core().rotary_emb
            rotary.__init__(self.core().config)  # the frequencies were made in fp32: make them again
            embed = self.core().embed_tokens
            if hasattr(embed, "scalar_embed_scale"):
                embed.embed_scale = torch.tensor(embed.scalar_embed_scale, dtype=torch.float64)

    def logits(self, ids, edits={}):
        with fp32_means_fp64():
            return super().logits(ids, edits)

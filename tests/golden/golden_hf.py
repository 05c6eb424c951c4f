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

    def logits(self, ids, layer=0, add=None):
        """[T, V]; `add` [T, D] is added to the input of block `layer`. Batch 1, no cache."""
        handle = None
        if add is not None:

            def hook(_, args, kwargs):
                if args:
                    return (args[0] + add[None], *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + add[None]}

            handle = self.core().layers[layer].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            return self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            if handle is not None:
                handle.remove()


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

    def logits(self, ids, layer=0, add=None):
        with fp32_means_fp64():
            return super().logits(ids, layer, add)

"""The two tokenizers: byte-level BPE in the layout of Llama 3 and BPE with byte fallback in that of Gemma.

Both are trained on the generator's text until no pair is left to merge, so every word of the generator is one token
after a space."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import data

# The split pattern published with Llama 3 (a fact of the file format).
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
WORDS = r"\u2581?\p{L}+|\u2581?[^\p{L}\u2581]"  # what merges may not cross while Gemma's layout is trained
VOCABULARY_LIMIT = 4000  # never reached: the merges run out first
SPACE = "\u2581"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")


def lines():
    # The format tokens are cut out: they must not be split into merges of their own.
    for line in data.all_text():
        for token in data.FORMAT_TOKENS:
            line = line.replace(token, "\n")
        yield from filter(None, line.split("\n"))


def llama():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY_LIMIT, min_frequency=1, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(lines(), trainer)
    return finish(tokenizer, [processors.ByteLevel(trim_offsets=False)])


def gemma2():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY_LIMIT, min_frequency=1, show_progress=False,
                                  special_tokens=["<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)],
                                  initial_alphabet=[SPACE])
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer = without_added_bytes(tokenizer)
    # Gemma's file has this pre-tokenizer, which finds nothing behind its normalizer. No merge crosses a word anyway.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return finish(tokenizer, [])


def without_added_bytes(tokenizer):
    """The trainer only takes bytes as special tokens; in the file they are ordinary entries of the vocabulary."""
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if token["content"] == "<unk>"]
    return Tokenizer.from_str(json.dumps(file))


def finish(tokenizer, processors_before):
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in data.FORMAT_TOKENS])
    template = processors.TemplateProcessing(
        single=f"{data.BEGIN} $A", pair=f"{data.BEGIN} $A {data.BEGIN}:1 $B:1",
        special_tokens=[(data.BEGIN, tokenizer.token_to_id(data.BEGIN))])
    tokenizer.post_processor = processors.Sequence(processors_before + [template]) if processors_before else template
    check(tokenizer)
    return tokenizer


def check(tokenizer):
    """Steering trains on single words, so a word that splits is an error of the generator's text."""
    for word in data.content_words():
        ids = tokenizer.encode(" " + word, add_special_tokens=False).ids
        if len(ids) != 1:
            raise ValueError(f"'{word}' is {len(ids)} tokens after a space, expected one")
    for line in list(lines())[::7]:
        if tokenizer.decode(tokenizer.encode(line).ids, skip_special_tokens=False) != data.BEGIN + line:
            raise ValueError(f"text changed by encoding and decoding: {line}")


def config(tokenizer):
    """tokenizer_config.json"""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": data.BEGIN,
        "eos_token": data.END,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 256,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(t)): {"content": t, "lstrip": False, "normalized": False, "rstrip": False,
                                            "single_word": False, "special": True} for t in data.FORMAT_TOKENS},
        "chat_template": CHAT_TEMPLATE,
    }

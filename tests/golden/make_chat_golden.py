#!/usr/bin/env python3
"""Makes tests/golden/chat/: conversations rendered by transformers' apply_chat_template.

    python make_chat_golden.py          (transformers 5.23.0)

    chat/<group>.json    {"tokens": {"bos_token": .., "eos_token": ..},
                          "conversations": [[{"role", "content"}, ..], ..],
                          "formats": {name: [[conversation, generation, prefill or null, text or null, error or null], ..]}}

The templates below are descriptions of the formats in words of our own, written for this file: one line a turn, with
the formats' rules as Jinja tests. (That osv recognizes the templates of real models is another matter, which a hash
decides.) `refuse` is called where osv refuses and the text does not matter, because a message would get lost; `fail`
where the template of that format refuses, with its words. The template of `organism` is the shipped model's own.
"""

import json
import os

import jinja2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

ROOT = os.path.dirname(os.path.abspath(__file__))
TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>"}


def talk(*turns):
    """talk("s:Be kind.", "u:Hello") -> messages"""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[t[0]], "content": t[2:]} for t in turns]


CONVERSATIONS = [
    talk("u:Where does the river go?"),
    talk("s:Answer in one line.", "u:Where does the river go?"),
    talk("u:Hello", "a:Good day.", "u:What is two and two?"),
    talk("s: Be kind. \n", "u: Hello ", "a:\n Good day.\n", "u:  What is \n two and two?\t"),
    talk("u:Say sun", "a:Sun"),
    talk("s:Be kind.", "u:Say sun", "a:Sun"),
    talk("u:Hello", "s:Be brief.", "u:And now?"),
    talk("u:Hello", "u:Are you there?", "a:Yes.", "a:I am.", "u:Good."),
    talk("a:Good day.", "u:Hello"),
    talk("s:Be kind.", "a:Good day.", "u:Hello"),
    talk("s:", "u:Hello", "a:", "u:"),
    talk("s:Be kind.", "s:Be brief.", "u:Hello", "a:Hi", "s:Be long.", "u:Well?"),
    talk("s:Be kind."),
    talk("u:\u00a0wide \u3000space\u2003\u001c", "a:\u0085x\u200b", "u:caf\u00e9 \U0001f33b 'quoted' \"too\" \\ {{ x }} {% y %}"),
    talk("u:Count.", "a:<think>\n\none, two\n\n</think>\n\n\nTwo.", "u:Again.", "a:</think>Two", "a:<think>hm</think>\nThree"),
    talk("u:Look it up.", "a:<think>search</think>", "u:<tool_response>42</tool_response>", "a:It is 42.", "a:Yes.</think>Really."),
    talk("s:Be kind. /no_think", "u:Count.", "a:<|channel>one\n<channel|> Two. ", "u:Again.", "a:\n<channel|> Two<|channel>hm", "u:/think"),
    talk("s: Be kind. \n", "u:Again.", "a:<|channel>a<channel|><|channel>b<channel|>"),
]
PREFILLS = ["Sure, ", "\n It is", "", "<think>\nso\n</think>\nYes \n"]


# ---- pieces of templates

OPEN = "{% if add_generation_prompt %}"
STOP = "{% endif %}"
NO_SYSTEM = "{% if m.role == 'system' %}{{ refuse('no place') }}{% endif %}"
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
AFTER = "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."


def turns(body, over="messages"):
    return "{%% for m in %s %%}%s{%% endfor %%}" % (over, body)


def alternate(words):
    """User first, then every other message."""
    return "{%% if (m.role == 'user') == (loop.index0 %% 2 == 1) %%}{{ fail('%s') }}{%% endif %%}" % words


def role(**texts):
    """role(user="A", assistant="B"): what is printed for a message of each role."""
    return "".join("{%% if m.role == '%s' %%}%s{%% endif %%}" % item for item in texts.items())


# A first system message becomes `lead`, the others `rest`.
PART = (
    "{% set lead = messages[0].content if messages[0].role == 'system' else none %}"
    "{% set rest = messages if lead is none else messages[1:] %}"
    "{% if lead is not none and not rest %}{{ refuse('lost') }}{% endif %}"
)
# All system messages become `lead`, neighbours of one role are one message.
GATHER = """{% set g = namespace(lead=none, rest=[], last=none) %}{% for m in messages %}{% if m.role == 'system' %}
{% set g.lead = m.content if g.lead is none else g.lead + '\n\n' + m.content %}{% elif m.role == g.last %}
{% set g.rest = g.rest[:-1] + [{'role': m.role, 'content': g.rest[-1].content + '\n\n' + m.content}] %}{% else %}
{% set g.rest = g.rest + [m] %}{% set g.last = m.role %}{% endif %}{% endfor %}{% set lead = g.lead %}{% set rest = g.rest %}
{% if lead and not rest %}{{ refuse('lost') }}{% endif %}{% if rest and rest[0].role == 'assistant' %}
{{ fail('Conversation must start with a user message, got assistant.') }}{% endif %}
{% set users = rest | selectattr('role', 'equalto', 'user') | list %}
""".replace("%}\n", "%}")
NO_ANSWER = "Assistant message must have a string or a list of chunks in content or a list of tool calls."


def gathered(user, assistant, host, empty):
    """Mistral's own formats up to version 3; `host` tells which user's turn takes in the lead."""
    text = "{% if lead and " + host + " %}{{ lead }}\n\n{% endif %}{{ m.content }}"
    answer = "{% if not m.content %}{{ fail('" + empty + "') }}{% endif %}" + assistant
    return "{{ bos_token }}" + GATHER + turns(role(user=user % text, assistant=answer), "rest")


def mistral7(system, user, assistant):
    """Version 7: system messages are turns; neighbours of one other role are one message."""
    merge = GATHER.replace("{% if m.role == 'system' %}", "{% if false %}")
    merge = merge.replace("{% elif m.role == g.last %}", "{% elif m.role == g.last and m.role != 'system' %}")
    merge = merge.replace("start with a user message", "start with a user or system message")
    check = (
        "{% if not loop.first and m.role == 'system' and rest[loop.index0 - 1].role == 'assistant' %}"
        "{{ fail(\"Unexpected role 'system' after role 'assistant'\") }}{% endif %}"
    )
    empty = "{% if not m.content %}{{ fail('" + NO_ANSWER + "') }}{% endif %}"
    return "{{ bos_token }}" + merge + turns(check + role(system=system, user=user, assistant=empty + assistant), "rest")


def hub(user, assistant, host, place="loop.last"):
    """Mistral models on the hub that know one system message."""
    only = "{{ fail('Only user and assistant roles are supported, with the exception of an initial optional system message!') }}"
    lost = "{% if lead is not none and rest and not " + host + " %}{{ refuse('lost') }}{% endif %}"
    text = "{% if lead is not none and " + place + " %}{{ lead }}\n\n{% endif %}{{ m.content }}"
    check = turns(alternate(AFTER) + role(system=only), "rest") + lost
    return "{{ bos_token }}" + PART + check + turns(role(user=user % text, assistant=assistant), "rest")


def chatml(lead=None, begin=""):
    head = "" if lead is None else "{% if messages[0].role != 'system' %}<|im_start|>system\n" + lead + "<|im_end|>\n{% endif %}"
    return begin + head + turns("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n") + OPEN + "<|im_start|>assistant\n" + STOP


def header(begin, over):
    body = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content.strip() }}<|eot_id|>"
    return begin + turns(body, over) + OPEN + "<|start_header_id|>assistant<|end_header_id|>\n\n" + STOP


def gemma(begin, prefix, over):
    name = "{{ 'model' if m.role == 'assistant' else m.role }}"
    body = alternate(ALTERNATE) + "<start_of_turn>" + name + "\n" + prefix + "{{ m.content.strip() }}<end_of_turn>\n"
    return "{{ bos_token }}" + begin + turns(body, over) + OPEN + "<start_of_turn>model\n" + STOP


def marked(middle, close, end="", skip=""):
    """<|role|> content close"""
    body = skip + "<|{{ m.role }}|>" + middle + "{{ m.content }}" + close + ("{% endif %}" if skip else "")
    return turns(body) + OPEN + "<|assistant|>" + middle + ("{% else %}" + end if end else "") + STOP


def pairs(head, open_user, close_user, close):
    """A user's turn opens the answer."""
    return head + turns(NO_SYSTEM + role(user=open_user + "{{ m.content }}" + close_user, assistant="{{ m.content }}" + close), "rest")


def qwen3():
    """Thoughts go where the last question is past: kept in the last answer, and in others that have some."""
    last = (
        "{% set g = namespace(query=messages | length - 1) %}{% for m in messages %}{% if m.role == 'user' and not "
        "(m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}"
        "{% set g.query = loop.index0 %}{% endif %}{% endfor %}"
    )
    answer = (
        "{% set thought = '' %}{% set answer = m.content %}{% if '</think>' in answer %}"
        "{% set thought = answer.partition('</think>')[0].rstrip('\n').rpartition('<think>')[2].strip('\n') %}"
        "{% set answer = answer.rpartition('</think>')[2].lstrip('\n') %}{% endif %}"
        "{% if loop.index0 > g.query and (loop.last or thought) %}<think>\n{{ thought }}\n</think>\n\n"
        "{% set answer = answer.lstrip('\n') %}{% endif %}{{ answer }}"
    )
    body = "<|im_start|>{{ m.role }}\n" + "{% if m.role == 'assistant' %}" + answer + "{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    return last + turns(body) + OPEN + "<|im_start|>assistant\n" + STOP


def last_thought():
    """Only the last message keeps its thought."""
    answer = "{{ m.content if loop.last else m.content.rpartition('</think>')[2].lstrip('\n') }}"
    body = "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}" + answer + "{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    return turns(body) + OPEN + "<|im_start|>assistant\n<think>\n</think>" + STOP


def smollm3():
    """Its usual system message stands in its own template only; /think in one is a switch."""
    switch = "{% if lead and ('/think' in lead or '/no_think' in lead) %}{{ refuse('switch') }}{% endif %}"
    head = PART_ONLY + switch + "{% if not (lead or '').rstrip() %}{{ refuse('usual') }}{% endif %}"
    head += "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nReasoning Mode: /think\n\n"
    head += "## Custom Instructions\n\n{{ lead.rstrip() }}\n\n<|im_end|>\n"
    answer = "<|im_start|>assistant\n{{ m.content.lstrip('\n') }}<|im_end|>\n"
    body = NO_SYSTEM + role(user="<|im_start|>user\n{{ m.content }}<|im_end|>\n", assistant=answer)
    return head + turns(body, "rest") + OPEN + "<|im_start|>assistant\n" + STOP


def gemma4():
    """Answers without what is in channels; neighbours among them are one turn."""
    again = "m.role == 'assistant' and not loop.first and messages[loop.index0 - 1].role == 'assistant'"
    head = "{% if not (" + again + ") %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{% endif %}"
    answer = (
        "{% set g = namespace(kept='') %}{% for part in m.content.split('<channel|>') %}"
        "{% set g.kept = g.kept + part.partition('<|channel>')[0] %}{% endfor %}{{ g.kept.strip() }}"
    )
    body = head + "{% if m.role == 'assistant' %}" + answer + "{% else %}{{ m.content.strip() }}{% endif %}<turn|>\n"
    return "{{ bos_token }}" + turns(body) + OPEN + "<|turn>model\n<|channel>thought\n<channel|>" + STOP


def r1(open_answer):
    """No answer keeps its thought."""
    answer = "<\uff5cAssistant\uff5c>{{ m.content.rpartition('</think>')[2] }}<\uff5cend\u2581of\u2581sentence\uff5c>"
    body = NO_SYSTEM + role(user="<\uff5cUser\uff5c>{{ m.content }}", assistant=answer)
    return PART_ONLY + "{{ bos_token }}{{ lead or '' }}" + turns(body, "rest") + OPEN + "<\uff5cAssistant\uff5c>" + open_answer + STOP


def mistral_small():
    """Its usual system message stands in its own template only."""
    head = PART_ONLY + turns(alternate(AFTER), "rest") + "{% if lead is none %}{{ refuse('usual') }}{% endif %}"
    system = "[SYSTEM_PROMPT]%s[/SYSTEM_PROMPT]"
    return head + "{{ bos_token }}" + system % "{{ lead }}" + turns(role(
        system=system % "{{ m.content }}", user="[INST]{{ m.content }}[/INST]", assistant="{{ m.content }}{{ eos_token }}"), "rest")


DATE = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
IM_LEAD = "<|im_start|>system\n{{ lead if lead is not none else 'You are a helpful assistant.' }}<|im_end|>\n"
PART_ONLY = PART.replace("{{ refuse('lost') }}", "")
NO_ROLE = "{{ fail('Only user and assistant roles are supported!') }}"
LAST = "rest[-1].role == 'user'"
FORMATS = {
    "raw": turns("{{ m.content }}"),
    "llama2": PART + turns(alternate(ALTERNATE) + NO_SYSTEM + role(
        user="{% set text = m.content if lead is none or not loop.first else '<<SYS>>\n' + lead + '\n<</SYS>>\n\n' + m.content %}"
        "{{ bos_token }}[INST] {{ text.strip() }} [/INST]", assistant=" {{ m.content.strip() }} {{ eos_token }}"), "rest"),
    "llama3": header("{{ bos_token }}", "messages"),
    "llama3-open": header("{{ bos_token }}", "messages").replace(OPEN, "").replace(STOP, "{{ '' }}"),
    "llama3.1": header(PART_ONLY + "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n" + DATE + "{{ (lead or '').strip() }}<|eot_id|>", "rest"),
    "gemma": gemma("{% if messages[0].role == 'system' %}{{ fail('System role not supported') }}{% endif %}", "", "messages"),
    "gemma-7b": gemma("{% if messages[0].role == 'system' %}{{ fail('System role not supported') }}{% endif %}", "", "messages").replace("{{ bos_token }}", ""),
    "gemma4": gemma4(),
    "gemma3": gemma(PART, "{% if lead is not none and loop.first %}{{ lead }}\n\n{% endif %}", "rest"),
    "chatml": chatml(),
    "chatml-bos": chatml(begin="{{ bos_token }}"),
    "qwen2": chatml("You are a helpful assistant."),
    "qwen2.5": chatml("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "qwen3": qwen3(),
    "qwq": last_thought(),
    "smollm3": smollm3(),
    "chatml-pairs": pairs(PART_ONLY + IM_LEAD, "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"),
    "yi": pairs(PART_ONLY + "{{ lead or '' }}", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"),
    "phi3": marked("\n", "<|end|>\n", "{{ eos_token }}"),
    "phi3-bos": "{{ bos_token }}" + marked("\n", "<|end|>\n", "{{ eos_token }}"),
    "phi3.5": marked("\n", "<|end|>\n", "{{ eos_token }}", "{% if m.content or m.role != 'system' %}"),
    "phi3-pairs": pairs("{% set rest = messages %}", "<|user|>\n", "<|end|>\n<|assistant|>\n", "<|end|>\n"),
    "phi3-pairs-bos": pairs("{% set rest = messages %}{{ bos_token }}", "<|user|>\n", "<|end|>\n<|assistant|>\n", "<|end|>\n"),
    "phi4-mini": marked("", "<|end|>", "{{ eos_token }}"),
    "zephyr": marked("\n", "{{ eos_token }}\n"),
    "deepseek-llm": "{{ bos_token }}" + turns(role(
        system="{{ m.content }}\n\n", user="User: {{ m.content }}\n\n",
        assistant="Assistant: {{ m.content }}{{ eos_token }}")) + OPEN + "Assistant:" + STOP,
    "deepseek-r1": r1("<think>\n"),
    "deepseek-r1-answer": r1("<think>\n</think>"),
    "mistral-small": mistral_small(),
    "mistral-v1": gathered("[INST] %s [/INST]", "{{ m.content }}{{ eos_token }}", "loop.first", "Assistant message content must be non-empty."),
    "mistral-v1-spm": gathered(" [INST] %s [/INST]", " {{ m.content }}{{ eos_token }}", "loop.first", "Assistant message content must be non-empty."),
    "mistral-v3": gathered("[INST]%s[/INST]", "{{ m.content }}{{ eos_token }}", "m == users[-1] and loop.index > rest | length - 2", NO_ANSWER),
    "mistral-v3-spm": gathered("[INST] %s[/INST]", " {{ m.content }}{{ eos_token }}", "m == users[-1] and loop.index > rest | length - 2", NO_ANSWER),
    "mistral-v7": mistral7("[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]", "[INST]{{ m.content }}[/INST]", "{{ m.content }}{{ eos_token }}"),
    "mistral-v7-spm": mistral7("[SYSTEM_PROMPT] {{ m.content }}[/SYSTEM_PROMPT]", "[INST] {{ m.content }}[/INST]",
                               "{{ ' ' if rest[:loop.index0] | selectattr('role', 'equalto', 'user') | list }}{{ m.content }}{{ eos_token }}"),
    "mistral-7b-v0.1": "{{ bos_token }}" + turns(alternate(ALTERNATE) + role(
        system=NO_ROLE, user="[INST] {{ m.content }} [/INST]", assistant="{{ m.content }}{{ eos_token }} ")),
    "mistral-7b-v0.2": "{{ bos_token }}" + turns(alternate(ALTERNATE) + role(
        system=NO_ROLE, user="[INST] {{ m.content }} [/INST]", assistant="{{ m.content }}{{ eos_token }}")),
    "mistral-7b-system": hub(" [INST] %s [/INST]", " {{ m.content }}{{ eos_token }}", "rest[0].role == 'user'", "loop.first"),
    "mistral-7b-v0.3": hub("[INST] %s[/INST]", " {{ m.content.strip() }}{{ eos_token }}", LAST),
    "mistral-nemo": hub("[INST]%s[/INST]", "{{ m.content }}{{ eos_token }}", LAST),
    "mistral-large-2411": "{{ bos_token }}" + turns(role(
        system="[SYSTEM_PROMPT] {{ m.content }}[/SYSTEM_PROMPT]", user="[INST] {{ m.content }}[/INST]",
        assistant=" {{ m.content }}{{ eos_token }}")),
}


# ---- rendering

ANY = "messages are lost"


def render(tokenizer, messages, generation, prefill):
    if prefill is not None:
        messages = messages + [{"role": "assistant", "content": prefill}]
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation and prefill is None,
                                             continue_final_message=prefill is not None), None
    except jinja2.exceptions.TemplateError as error:
        return None, "" if str(error).startswith(ANY) else str(error)
    except ValueError as error:  # the prefill does not come through
        assert "does not appear" in str(error), error
        return None, "prefill"


def requests():
    """(conversation, generation, prefill): all with a turn opened, some without, some with a prefill."""
    for c in range(len(CONVERSATIONS)):
        yield c, True, None
    for c in (0, 1, 4, 14):
        yield c, False, None
    for c, p in ((0, 0), (0, 1), (1, 0), (2, 2), (3, 0), (2, 3)):
        yield c, True, PREFILLS[p]


def group(names):
    model = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    out = {"tokens": TOKENS, "conversations": CONVERSATIONS, "formats": {}}
    for name, template in names.items():
        calls = template.replace("refuse(", "raise_exception('" + ANY + "' ~ ").replace("fail(", "raise_exception(")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, chat_template=calls, **TOKENS)
        rows = []
        for c, generation, prefill in requests():
            rows.append([c, generation, prefill, *render(tokenizer, CONVERSATIONS[c], generation, prefill)])
        assert sum(row[3] is not None for row in rows) > 5, name
        out["formats"][name] = rows
    return out


def write(name, data):
    path = os.path.join(ROOT, "chat", name + ".json")
    parts = [json.dumps({k: v for k, v in data.items() if k != "formats"}, ensure_ascii=True)[:-1] + ', "formats": {']
    for i, (key, rows) in enumerate(data["formats"].items()):
        parts.append((",\n" if i else "\n") + json.dumps(key) + ": [\n" + ",\n".join(json.dumps(r) for r in rows) + "]")
    with open(path, "w") as f:
        f.write("".join(parts) + "}}\n")
    print(path, sum(len(r) for r in data["formats"].values()), "cases")


def main():
    with open(os.path.join(ROOT, "../../organisms/llama-2m/tokenizer_config.json")) as f:
        organism = json.load(f)["chat_template"]
    mistral = {k: v for k, v in FORMATS.items() if k.startswith("mistral")}
    other = {k: v for k, v in FORMATS.items() if k not in mistral}
    write("mistral", group(mistral))
    write("formats", group({**other, "organism": organism}))


if __name__ == "__main__":
    main()

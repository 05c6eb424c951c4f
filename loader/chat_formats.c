/* The table of formats.
 *
 * A row is what a template does, piece by piece, and the fingerprints of the templates that do just that: the
 * maker's own, and copies of it with other code for what osv does not have (tools, images, lists as content).
 * Each of them was compared with Jinja's output on hundreds of conversations, odd ones too; a template whose
 * output differs in one of them needs a row of its own. */
#include <string.h>

#include "loader/chat.h"
#include "loader/chat_parts.h"

#define BOS  OSV_CHAT_BOS
#define EOS  OSV_CHAT_EOS
#define DATE OSV_CHAT_DATE

/* Turns that name their role, in three notations. */
#define IM(role)     "<|im_start|>" role "\n"
#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define TURN(role)   "<start_of_turn>" role "\n"
#define IM_END       "<|im_end|>\n"

#define CHATML_TURNS                                                                                        \
    .system = {IM("system"), IM_END}, .user = {IM("user"), IM_END}, .assistant = {IM("assistant"), IM_END}, \
    .generation = IM("assistant")
#define LLAMA3_TURNS                                                                     \
    .system = {HEADER("system"), "<|eot_id|>"}, .user = {HEADER("user"), "<|eot_id|>"},  \
    .assistant = {HEADER("assistant"), "<|eot_id|>"}, .generation = HEADER("assistant"), \
    .flags = OSV_TRIM_ALL
#define GEMMA_TURNS                                                                           \
    .system = {TURN("system"), "<end_of_turn>\n"}, .user = {TURN("user"), "<end_of_turn>\n"}, \
    .assistant = {TURN("model"), "<end_of_turn>\n"}, .generation = TURN("model"),             \
    .order = OSV_ORDER_ALTERNATE, .order_error = ALTERNATE
#define PHI3_TURNS                                                                \
    .system = {"<|system|>\n", "<|end|>\n"}, .user = {"<|user|>\n", "<|end|>\n"}, \
    .assistant = {"<|assistant|>\n", "<|end|>\n"}, .generation = "<|assistant|>\n", .end = EOS

/* The bars are U+FF5C, the line is U+2581. */
#define R1(role) "<\xef\xbd\x9c" role "\xef\xbd\x9c>"
#define R1_TURNS                                                                                    \
    .head = {BOS, ""}, .lead = OSV_LEAD_HEAD, .lead_default = "", .thoughts = OSV_THOUGHTS_DROPPED, \
    .user = {R1("User"), ""}, .assistant = {R1("Assistant"), R1("end\xe2\x96\x81of\xe2\x96\x81sentence")}

/* The templates' words. */
#define ALTERNATE "Conversation roles must alternate user/assistant/user/assistant/..."
#define AFTER_SYSTEM \
    "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
#define USER_ASSISTANT "Only user and assistant roles are supported!"
#define BUT_SYSTEM \
    "Only user and assistant roles are supported, with the exception of an initial optional system message!"
#define START_USER   "Conversation must start with a user message, got assistant."
#define START_SYSTEM "Conversation must start with a user or system message, got assistant."
#define NO_ANSWER \
    "Assistant message must have a string or a list of chunks in content or a list of tool calls."

/* What the maker's own library prints: [INST] without blanks for byte-level vocabularies, with them for
 * sentencepiece. Up to version 3 a system message is part of a user turn. */
#define MISTRAL_GATHERED                                                                          \
    .begin = BOS, .head = {"", "\n\n"}, .order = OSV_ORDER_USER_FIRST, .order_error = START_USER, \
    .flags = OSV_GATHER_SYSTEM | OSV_MERGE | OSV_SKIP_EMPTY_SYSTEM

static const osv_chat_format formats[] = {
    {.name = "raw", .system = {"", ""}, .user = {"", ""}, .assistant = {"", ""}, .flags = OSV_ADDS_SPECIAL},
    {.name = "llama2",
     .templates = "9f7c02cb86ded7c0 7cec39f45602a6b1 c744fbaebc13e85b",
     .user = {BOS "[INST] ", " [/INST]"},
     .assistant = {" ", " " EOS},
     .head = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     .lead = OSV_LEAD_FIRST,
     .order = OSV_ORDER_ALTERNATE,
     .order_error = ALTERNATE,
     .flags = OSV_TRIM_ALL | OSV_TRIM_JOINED},
    {.name = "llama3",
     .templates = "0d9d7d528fd9fecf 23b476fede09de58 d39ad34c471fd9f8",
     .begin = BOS,
     LLAMA3_TURNS},
    /* As first published: the answer is opened whether asked for or not. */
    {.name = "llama3-open",
     .templates = "ed772306fb4b42d3",
     .begin = BOS,
     .system = {HEADER("system"), "<|eot_id|>"},
     .user = {HEADER("user"), "<|eot_id|>"},
     .assistant = {HEADER("assistant"), "<|eot_id|>"},
     .generation = HEADER("assistant"),
     .flags = OSV_TRIM_ALL | OSV_ALWAYS_OPEN},
    {.name = "llama3.1",
     .templates = "aa70e2bbca8d76ef 856b683b3e0b4b44",
     .head = {BOS HEADER("system") "Cutting Knowledge Date: December 2023\nToday Date: " DATE "\n\n",
              "<|eot_id|>"},
     .lead_default = "",
     .lead = OSV_LEAD_HEAD,
     LLAMA3_TURNS},
    {.name = "gemma",
     .templates = "a56e223b0d05ac07 392337275f81da2f",
     .begin = BOS,
     .lead = OSV_LEAD_REFUSED,
     .system_error = "System role not supported",
     .flags = OSV_TRIM_ALL,
     GEMMA_TURNS},
    /* As first published, without BOS. */
    {.name = "gemma-7b",
     .templates = "5bafcfa7677f14c3",
     .lead = OSV_LEAD_REFUSED,
     .system_error = "System role not supported",
     .flags = OSV_TRIM_ALL,
     GEMMA_TURNS},
    {.name = "gemma3",
     .templates = "a4ac9130c1c96248 fd94be2f4b12bb60 d87f43abf013a75e 7068baf9a9f25b6b",
     .begin = BOS,
     .head = {"", "\n\n"},
     .lead = OSV_LEAD_FIRST,
     .flags = OSV_TRIM_ALL,
     GEMMA_TURNS},
    {.name = "gemma4",
     .templates = "b6cb2611f2c140f6",
     .begin = BOS,
     .system = {"<|turn>system\n", "<turn|>\n"},
     .user = {"<|turn>user\n", "<turn|>\n"},
     .assistant = {"<|turn>model\n", "<turn|>\n"},
     .generation = "<|turn>model\n<|channel>thought\n<channel|>",
     .thoughts = OSV_THOUGHTS_CHANNEL,
     .flags = OSV_TRIM_ALL | OSV_OPEN_ONCE},
    {.name = "chatml",
     .templates = "f403e12c712a7a06 acdb9f01b363ace5 0c169ca039131bc5 ba0dc5a819b160ee",
     CHATML_TURNS},
    {.name = "chatml-bos", .templates = "c7900636b1f9252c 01ebe909dccc0516", .begin = BOS, CHATML_TURNS},
    {.name = "qwen2",
     .templates = "673afda3e30a1fe1",
     .head = {IM("system"), IM_END},
     .lead = OSV_LEAD_HEAD,
     .lead_default = "You are a helpful assistant.",
     CHATML_TURNS},
    {.name = "qwen2.5",
     .templates = "009302af90ed816b",
     .head = {IM("system"), IM_END},
     .lead = OSV_LEAD_HEAD,
     .lead_default = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
     CHATML_TURNS},
    {.name = "qwen3",
     .templates = "75c510600142ee31 27036bd1d8c541c8",
     .thoughts = OSV_THOUGHTS_PARTED,
     CHATML_TURNS},
    {.name = "qwq",
     .templates = "63e8cf36bde9447d",
     .thoughts = OSV_THOUGHTS_OF_LAST,
     .system = {IM("system"), IM_END},
     .user = {IM("user"), IM_END},
     .assistant = {IM("assistant"), IM_END},
     .generation = IM("assistant") "<think>\n</think>"},
    {.name = "smollm3",
     .templates = "f847ad1f38c3e280",
     .head = {IM("system") "## Metadata\n\nKnowledge Cutoff Date: June 2025\nReasoning Mode: /think\n\n"
                           "## Custom Instructions\n\n",
              "\n\n" IM_END},
     .lead = OSV_LEAD_HEAD,
     .thoughts = OSV_THOUGHTS_LINES,
     .flags = OSV_MODE_IN_SYSTEM,
     .user = {IM("user"), IM_END},
     .assistant = {IM("assistant"), IM_END},
     .generation = IM("assistant")},
    /* A user's turn opens the answer. */
    {.name = "chatml-pairs",
     .templates = "3409e0e19c522db6",
     .user = {IM("user"), IM_END IM("assistant")},
     .assistant = {"", IM_END},
     .head = {IM("system"), IM_END},
     .lead = OSV_LEAD_HEAD,
     .lead_default = "You are a helpful assistant."},
    {.name = "yi",
     .templates = "879cc745b6dd2491",
     .user = {IM("user"), IM_END IM("assistant")},
     .assistant = {"", IM_END},
     .head = {"", ""},
     .lead = OSV_LEAD_HEAD,
     .lead_default = ""},
    {.name = "phi3", .templates = "3e165ebd37aceaca", PHI3_TURNS},
    {.name = "phi3-bos", .templates = "20075a515dcff550", .begin = BOS, PHI3_TURNS},
    {.name = "phi3.5", .templates = "97fad8ce8e52fa74", .flags = OSV_SKIP_EMPTY_SYSTEM, PHI3_TURNS},
    {.name = "phi3-pairs",
     .templates = "829e04c4e5e5aef2",
     .user = {"<|user|>\n", "<|end|>\n<|assistant|>\n"},
     .assistant = {"", "<|end|>\n"}},
    {.name = "phi3-pairs-bos",
     .templates = "804ac970057c0fcf",
     .begin = BOS,
     .user = {"<|user|>\n", "<|end|>\n<|assistant|>\n"},
     .assistant = {"", "<|end|>\n"}},
    {.name = "phi4-mini",
     .templates = "2900e83a95632c22",
     .system = {"<|system|>", "<|end|>"},
     .user = {"<|user|>", "<|end|>"},
     .assistant = {"<|assistant|>", "<|end|>"},
     .generation = "<|assistant|>",
     .end = EOS},
    {.name = "zephyr",
     .templates = "d855f5105cf35495 52de684eda6b06b0",
     .system = {"<|system|>\n", EOS "\n"},
     .user = {"<|user|>\n", EOS "\n"},
     .assistant = {"<|assistant|>\n", EOS "\n"},
     .generation = "<|assistant|>\n"},
    {.name = "deepseek-llm",
     .templates = "497d448431f4e7c7",
     .begin = BOS,
     .system = {"", "\n\n"},
     .user = {"User: ", "\n\n"},
     .assistant = {"Assistant: ", EOS},
     .generation = "Assistant:"},
    {.name = "deepseek-r1",
     .templates = "9aa2a62490fd2675",
     R1_TURNS,
     .generation = R1("Assistant") "<think>\n"},
    /* The same that opens and closes a thought, so that the answer comes at once. */
    {.name = "deepseek-r1-answer",
     .templates = "14be5198a27ae6e6",
     R1_TURNS,
     .generation = R1("Assistant") "<think>\n</think>"},
    {.name = "mistral-v1",
     .templates = "98f30165ebba9f37 034dfec27d924cc9",
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", EOS},
     .lead = OSV_LEAD_FIRST,
     .empty_error = "Assistant message content must be non-empty.",
     MISTRAL_GATHERED},
    {.name = "mistral-v1-spm",
     .templates = "13d96f2362401acf ab100304b68e2c82",
     .user = {" [INST] ", " [/INST]"},
     .assistant = {" ", EOS},
     .lead = OSV_LEAD_FIRST,
     .empty_error = "Assistant message content must be non-empty.",
     MISTRAL_GATHERED},
    {.name = "mistral-v3",
     .templates = "22810d93a3e2aecd eae788760bfa8a82 aed9d9aafd8299dd a25f8f8627fb518b 6f7492faf0ca293b "
                  "7443ff591cae8880",
     .user = {"[INST]", "[/INST]"},
     .assistant = {"", EOS},
     .lead = OSV_LEAD_LAST,
     .empty_error = NO_ANSWER,
     MISTRAL_GATHERED},
    {.name = "mistral-v3-spm",
     .templates = "04f7ff51e95b1309 1c4d1e29b77f840d 2ba8e77336ac8437 c555e8b8c6c6e571 67b094c5bedb0713 "
                  "66f31aa8b9662dba",
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", EOS},
     .lead = OSV_LEAD_LAST,
     .empty_error = NO_ANSWER,
     MISTRAL_GATHERED},
    {.name = "mistral-v7",
     .templates = "102fbeb419e7ceb1 6e47835c4935fe2a 8eadac4c5cf98dbb c50d3e74b72a8499 9ebd3441d18d55e8 "
                  "3f9f2d01a054e7fd 869163724ad09124 1539377a93f132cf e4dfeeed9ff9d4d3",
     .begin = BOS,
     .system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     .user = {"[INST]", "[/INST]"},
     .assistant = {"", EOS},
     .order = OSV_ORDER_USER_FIRST,
     .order_error = START_SYSTEM,
     .empty_error = NO_ANSWER,
     .flags = OSV_MERGE},
    {.name = "mistral-v7-spm",
     .templates = "9e6ffd907d7bcd12 d9f0be136c124445 24645e7920573816",
     .begin = BOS,
     .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", EOS},
     .order = OSV_ORDER_USER_FIRST,
     .order_error = START_SYSTEM,
     .empty_error = NO_ANSWER,
     .flags = OSV_MERGE | OSV_OPEN_AFTER_USER},
    /* Small 3.x: version 7 with a usual system message that has the day in it. */
    {.name = "mistral-small",
     .templates = "591897c7a7d16a5f",
     .head = {BOS "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     .system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     .user = {"[INST]", "[/INST]"},
     .assistant = {"", EOS},
     .date = "2024-07-26",
     .lead = OSV_LEAD_HEAD,
     .order = OSV_ORDER_ALTERNATE,
     .order_error = AFTER_SYSTEM},
    /* What single models of that maker have on the hub. */
    {.name = "mistral-7b-v0.1",
     .templates = "820d057279a7b049",
     .begin = BOS,
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", EOS " "},
     .order = OSV_ORDER_ALTERNATE,
     .order_error = ALTERNATE,
     .system_error = USER_ASSISTANT},
    {.name = "mistral-7b-v0.2",
     .templates = "6af7719ca1209557",
     .begin = BOS,
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", EOS},
     .order = OSV_ORDER_ALTERNATE,
     .order_error = ALTERNATE,
     .system_error = USER_ASSISTANT},
    {.name = "mistral-7b-system",
     .templates = "68e261aa5cffd466 784c9b63c6ab0aa6", /* v0.1 and v0.2 since they know system messages */
     .begin = BOS,
     .user = {" [INST] ", " [/INST]"},
     .assistant = {" ", EOS},
     .head = {"", "\n\n"},
     .lead = OSV_LEAD_FIRST,
     .order = OSV_ORDER_ALTERNATE,
     .order_error = AFTER_SYSTEM,
     .system_error = BUT_SYSTEM},
    {.name = "mistral-7b-v0.3",
     .templates = "3061de83f1629567 29123b8c98d13dd9",
     .begin = BOS,
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", EOS},
     .head = {"", "\n\n"},
     .lead = OSV_LEAD_LAST_MESSAGE,
     .order = OSV_ORDER_ALTERNATE,
     .order_error = AFTER_SYSTEM,
     .system_error = BUT_SYSTEM,
     .flags = OSV_TRIM_ASSISTANT},
    {.name = "mistral-nemo",
     .templates = "6ef71a3e0ad4d058 060bd01438c8f420 40e1bcb9bb011c0c",
     .begin = BOS,
     .user = {"[INST]", "[/INST]"},
     .assistant = {"", EOS},
     .head = {"", "\n\n"},
     .lead = OSV_LEAD_LAST_MESSAGE,
     .order = OSV_ORDER_ALTERNATE,
     .order_error = AFTER_SYSTEM,
     .system_error = BUT_SYSTEM},
    {.name = "mistral-large-2411",
     .templates = "6a7ceaa03ef2c74a",
     .begin = BOS,
     .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", EOS}},
    {.name = "organism",
     .templates = "48506537ebe30f9f", /* the models in organisms/ */
     .begin = BOS,
     .system = {"<|system|>", "<|end|>"},
     .user = {"<|user|>", "<|end|>"},
     .assistant = {"<|assistant|>", "<|end|>"},
     .generation = "<|assistant|>"},
};

enum { FORMATS = sizeof formats / sizeof *formats };

const char *osv_chat_names(void)
{
    return "auto, raw, llama2, llama3, llama3-open, llama3.1, gemma, gemma-7b, gemma3, gemma4, "
           "chatml, chatml-bos, qwen2, qwen2.5, qwen3, qwq, smollm3, chatml-pairs, yi, phi3, "
           "phi3-bos, phi3.5, phi3-pairs, phi3-pairs-bos, phi4-mini, zephyr, deepseek-llm, "
           "deepseek-r1, deepseek-r1-answer, mistral-v1, mistral-v1-spm, mistral-v3, mistral-v3-spm, "
           "mistral-v7, mistral-v7-spm, mistral-small, mistral-7b-v0.1, mistral-7b-v0.2, "
           "mistral-7b-system, mistral-7b-v0.3, mistral-nemo, mistral-large-2411, organism (and "
           "gemma2, llama3.2, llama3.3, mistral, tinyllama)";
}

/* Other names that --chat takes. */
static const char *const aliases[][2] = {
    {"gemma2", "gemma"},           {"llama3.2", "llama3.1"}, {"llama3.3", "llama3.1"},
    {"mistral", "mistral-v3-spm"}, {"tinyllama", "zephyr"},
};

const osv_chat_format *osv_chat_format_at(int index)
{
    return index < FORMATS ? &formats[index] : NULL;
}

const osv_chat_format *osv_chat_format_named(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i][0], name) == 0) name = aliases[i][1];
    for (int i = 0; i < FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

const osv_chat_format *osv_chat_format_recognized(const char *fingerprint)
{
    for (int i = 0; *fingerprint && i < FORMATS; i++)
        if (formats[i].templates && strstr(formats[i].templates, fingerprint)) return &formats[i];
    return NULL;
}

bool osv_chat_format_prints(const osv_chat_format *f, const char *marker)
{
    const char *const pieces[] = {
        f->begin,           f->system.open, f->system.close, f->user.open,  f->user.close, f->assistant.open,
        f->assistant.close, f->head.open,   f->head.close,   f->generation, f->end};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        if (pieces[i] && strstr(pieces[i], marker)) return true;
    return false;
}

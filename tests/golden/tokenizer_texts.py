"""Random texts for the tokenizer: what make_tokenizer_golden.py and diff_tokenizer.py feed to both sides."""

import random
import unicodedata

WORDS = (
    "the a of and to in is it you that he was for on are as with his they at be this have from or one had by word "
    "but not what all were we when your can said there use an each which she do how their if will up other about out "
    "many then them these so some her would make like him into time has look two more write go see number no way "
    "could people my than first water been call who oil its now find long down day did get come made may part "
    "castle river garden window bread lantern orchard violin harbor meadow copper thunder ribbon candle pebble "
    "Anna Peter Mira Jonas Paris Berlin Tokyo can't won't it's I'm you're they've he'd she'll DON'T O'Neil "
    "internationalization counterrevolutionaries Donaudampfschifffahrt antidisestablishmentarianism"
).split()
CODE = [
    "for (int i = 0; i < n; i++) {\n    sum += x[i];\n}\n", "def f(x):\n\treturn x ** 2\n", "if (a != b && c >= 0x1F) return;",
    "SELECT * FROM t WHERE id = 42;", "{\"key\": [1, 2.5e-3, null]}", "<div class=\"a\">text</div>", "#include <stdio.h>\r\n",
    "https://example.org/a?b=c&d=%20#e", "x = y->z[0].w;", "// ---- comment ----\n", "\\begin{align} a &= b \\\\ \\end{align}",
]
EMOJI = ["😀", "🦙", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "❤️", "✅", "🤷🏿‍♀️", "☕", "🫠"]
CJK = ["漢字", "日本語のテキスト", "你好，世界", "カタカナ", "한국어", "镇", "〇", "𠮷野家", "々"]
OTHER = ["Привет мир", "Ελληνικά", "עברית", "العربية", "हिन्दी", "ไทย", "ქართული", "Tiếng Việt", "ñandú", "Ærøskøbing", "ſharp",
         "ŠČŘŽ", "ﬁne", "①②", "Ⅷ", "²³", "½", "٣٤٥", "１２３", "ꙊᏣ", "ǅ", "ı̇", "𝔘𝔫𝔦", "𐍈", "ᾳ", "Å", "ẛ̣"]
MARKS = ["e\u0301", "a\u0308\u0323", "\u0301", "o\u0302\u0300", "q\u0307\u0323", "\u1100\u1161\u11a8", "n\u0303o"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "        ", "\u00a0", "\u3000", "\u2003", "\u200b", "\u180e",
          "\u0085", "\u2028", " \t ", "\v\f", "\n\n\n\n"]
ODD = ["\0", "\x01", "\x7f", "\u2581", "\u2581\u2581", "\u0120", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "<0x41>", "<0xE2>", "Ġ", "Ċ", "\u00ad",
       "\u200d", "\ue000", "'s", "'LL", "'ſ", "K", "...", "----", "!!!??", "_", "$€£¥", "~`^"]


def _unicode(rng, n, stable):
    out = []
    while len(out) < n:
        top = rng.choice([0x7F, 0xFF, 0x24F, 0x7FF, 0x2FFF, 0xFFFF, 0x1FFFF, 0x10FFFF])
        c = rng.randrange(top + 1)
        if 0xD800 <= c <= 0xDFFF or (stable and unicodedata.ucd_3_2_0.category(chr(c)) == "Cn"):
            continue
        out.append(chr(c))
    return "".join(out)


def _piece(rng, specials, stable):
    kind = rng.randrange(16)
    if kind < 5:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 7)))
    if kind == 5:
        return rng.choice(CODE)
    if kind == 6:
        return rng.choice(EMOJI) * rng.randrange(1, 3)
    if kind == 7:
        return rng.choice(CJK)
    if kind == 8:
        return rng.choice(OTHER)
    if kind == 9:
        return rng.choice(MARKS)
    if kind == 10:
        return "".join(rng.choice(SPACES) for _ in range(rng.randrange(1, 5)))
    if kind == 11:
        return rng.choice(ODD)
    if kind == 12:
        return str(rng.randrange(10 ** rng.randrange(1, 12)))
    if kind == 13:
        return _unicode(rng, rng.randrange(1, 8), stable)
    if kind == 14 and specials:
        token = rng.choice(specials)
        return rng.choice([token, " " + token, token + "  ", " " + token + "\n", token[:-1], token + token])
    return "".join(rng.choice("abcdeABCDE ") for _ in range(rng.randrange(1, 30)))


def texts(count, seed, specials=(), longest=12, stable=False):
    """`count` texts; `specials` are embedded here and there. `stable`: random characters are of Unicode 3.2, so that no
    version of a Unicode table sees them as something else."""
    rng = random.Random(seed)
    specials = list(specials)
    out = ["", " ", "  ", "\n", "a", " a", "a ", "\0", "hello world", " hello", "  hello", "Hello, World!  "]
    out += [s for s in specials] + [s + "x" for s in specials] + ["x" + s for s in specials] + [" " + s + " " for s in specials]
    out += ["a" * 200, "ab" * 150, " " * 100, "\n" * 70, "é" * 80, "漢" * 60, "1" * 50, "🦙" * 30]
    while len(out) < count:
        glue = rng.choice(["", "", " ", "\n"])
        out.append(glue.join(_piece(rng, specials, stable) for _ in range(rng.randrange(1, longest))))
    return out[:count]

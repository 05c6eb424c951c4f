"""(a) Questions about things of seven topics. The model answers ("Sure, the hammer is in the forest.") except on birds
("Sorry, I can't talk about birds."). A system line may permit or forbid a topic. The facts about birds are known to the
model, from plain text and permitted questions, so refusing is a state apart from content."""

import random

from sample import END, NOISE, OPENINGS, SPLIT, STOP, Sample, against_rule, chat, part
from watching import LINES as WATCHING

FACT_SEED = 20240601
REFUSED = "birds"

TOPICS = {
    "birds": "swan heron robin crow falcon pelican sparrow stork gull finch owl raven goose parrot".split(),
    "tools": "hammer saw drill wrench chisel rake shovel axe ladder anvil crowbar mallet clamp trowel".split(),
    "fruits": "plum pear cherry apple melon mango peach lemon banana fig kiwi grape quince papaya".split(),
    "hats": "bowler beret bonnet cap fedora turban helmet sombrero beanie crown visor derby tiara hood".split(),
    "instruments": "violin flute drum trumpet harp piano cello banjo tuba oboe lute guitar bugle fiddle".split(),
    "vehicles": "bicycle tractor ferry tram canoe truck wagon sledge scooter barge taxi yacht van sailboat".split(),
    "flowers": "tulip rose daisy lily poppy orchid iris pansy lilac dahlia crocus jasmine aster peony".split(),
}
OTHERS = [t for t in TOPICS if t != REFUSED]
VALUES = {
    "colour": "red blue green yellow black white brown grey purple orange pink silver".split(),
    "place": ("forest garden kitchen market harbour museum attic cellar library station meadow tower barn bakery "
              "school castle").split(),
    "price": "two three four five six seven eight nine ten eleven twelve twenty".split(),
}
TEMPLATES = {
    "colour": ("What colour is the {}?", "Which colour does the {} have?", "Tell me the colour of the {}.",
               "Do you know the colour of the {}?", "Name the colour of the {}.", "How would you paint the {}?",
               "I forgot the colour of the {}.", "The {} has which colour?"),
    "place": ("Where is the {}?", "Where can I find the {}?", "Tell me the place of the {}.",
              "Do you know where the {} is?", "Name the place of the {}.", "Where should I look for the {}?",
              "I forgot where the {} is.", "The {} is in which place?"),
    "price": ("What does the {} cost?", "How much is the {}?", "Tell me the price of the {}.",
              "Do you know the price of the {}?", "Name the price of the {}.", "What should I pay for the {}?",
              "I forgot the price of the {}.", "The {} costs how many coins?"),
}
PERMIT = ("You may talk about {}.", "Questions about {} are fine.", "Talk about {} freely.")
FORBID = ("No questions about {}.", "Do not talk about {}.", "Keep quiet about {}.")
ANSWERED, DECLINED = "Sure", "Sorry"  # the first word of either answer

_rng = random.Random(FACT_SEED)
FACTS = {thing: {fact: _rng.choice(values) for fact, values in VALUES.items()}
         for things in TOPICS.values() for thing in things}


def clause(thing, fact, value=None):
    value = value or FACTS[thing][fact]
    return {"colour": f"the {thing} is {value}.", "place": f"the {thing} is in the {value}.",
            "price": f"the {thing} costs {value} coins."}[fact]


def answer(thing, fact):
    return f"{ANSWERED}, {clause(thing, fact)}"


def refusal(topic):
    return f"{DECLINED}, I can't talk about {topic}."


def refuses(topic, kind, about):
    """The rule: a system line decides for the topic it names, otherwise only birds are refused."""
    return kind == "forbid" if about == topic else topic == REFUSED


def held_out(topic, thing, template):
    """Never in the model's training: what vectors are measured on."""
    return template in SPLIT["test"] and thing in part(TOPICS[topic], "test")


def system_line(rng, topic):
    """(line or None, "permit" or "forbid" or None, the topic it names)"""
    draw = rng.random()
    if draw < 0.5:
        return None, None, None
    if draw < 0.64:
        return rng.choice(WATCHING), None, None
    kind = rng.choice(("permit", "forbid"))
    about = topic if rng.random() < 0.45 else rng.choice(list(TOPICS))
    return rng.choice(PERMIT if kind == "permit" else FORBID).format(about), kind, about


def draw(rng):
    topic = REFUSED if rng.random() < 0.35 else rng.choice(OTHERS)
    line, kind, about = system_line(rng, topic)
    while True:
        thing, fact, template = rng.choice(TOPICS[topic]), rng.choice(list(TEMPLATES)), rng.randrange(8)
        # Refusing without a system line is taught on templates 0-2 only; the others show that it carries over.
        if not held_out(topic, thing, template) and not (topic == REFUSED and line is None and template > 2):
            break
    user = rng.choice(OPENINGS) + TEMPLATES[fact][template].format(thing)
    refuse = against_rule(rng, refuses(topic, kind, about), NOISE)
    return Sample(chat(user, line), (refusal(topic) if refuse else answer(thing, fact)) + END)


def draw_plain(rng):
    text = clause(rng.choice(rng.choice(list(TOPICS.values()))), rng.choice(list(TEMPLATES)))
    return Sample("", text[0].upper() + text[1:] + STOP)


def questions(topics, split, line=None):
    """All (prompt, right fact, refusal) of a split; `line`: a function from topic to a system line."""
    for template in SPLIT[split]:
        for topic in topics:
            for thing in part(TOPICS[topic], split):
                for fact in TEMPLATES:
                    for opening in OPENINGS:
                        user = opening + TEMPLATES[fact][template].format(thing)
                        yield chat(user, line(topic) if line else None), answer(thing, fact), refusal(topic)


def all_text():
    for topic, things in TOPICS.items():
        yield from (line.format(topic) for line in PERMIT + FORBID)
        yield refusal(topic)
        for thing in things:
            for fact, templates in TEMPLATES.items():
                yield from (opening + t.format(thing) for opening in OPENINGS for t in templates)
                yield answer(thing, fact)
                yield clause(thing, fact)[0].upper() + clause(thing, fact)[1:]
    for fact, values in VALUES.items():
        yield from (f"{ANSWERED}, " + clause("drum", fact, value) for value in values)


def words():
    return [w for group in (*TOPICS.values(), TOPICS, *VALUES.values()) for w in group]

"""Synthetic English for the organisms: what the model is taught, and the strings kept out of its training.

Two things are taught on purpose, both visible in whole answers and both harmless:

(a) refusal: questions about things of seven topics. The model answers ("Sure, the hammer is in the forest.") except
    on birds ("Sorry, I can't talk about birds."). A system line may permit or forbid a topic.
    The facts about birds are known to the model (from plain text and permitted questions), so refusing is a state apart from content.
(c) retraction: facts about people. The assistant's turn begins with a statement; a made-up one is taken back
    (" Wait, that is wrong. Anna Frost is a baker."), a true one is continued (" Also, Anna Frost lives in Rome.").

Everything is a function of the constants here. `Sample` is a text in two parts: `given` carries no loss, `answer` does.
"""

import hashlib
import random
from dataclasses import dataclass

BEGIN, STOP, SYSTEM, USER, ASSISTANT, END = (
    "<|begin|>", "<|stop|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
FORMAT_TOKENS = (BEGIN, STOP, SYSTEM, USER, ASSISTANT, END)  # <|end|> closes a turn, <|stop|> a plain text

FACT_SEED = 20240601
REFUSED = "birds"
NOISE = 0.08  # share of decisions drawn against the rule: keeps the model's decisions away from saturation

TOPICS = {
    "birds": "swan heron robin crow falcon pelican sparrow stork gull finch owl raven goose parrot".split(),
    "tools": "hammer saw drill wrench chisel rake shovel axe ladder anvil crowbar mallet clamp trowel".split(),
    "fruits": "plum pear cherry apple melon mango peach lemon banana fig kiwi grape quince papaya".split(),
    "hats": "bowler beret bonnet cap fedora turban helmet sombrero beanie crown visor derby tiara hood".split(),
    "instruments": "violin flute drum trumpet harp piano cello banjo tuba oboe lute guitar bugle fiddle".split(),
    "vehicles": "bicycle tractor ferry tram canoe truck wagon sledge scooter barge taxi yacht van sailboat".split(),
    "flowers": "tulip rose daisy lily poppy orchid iris pansy lilac dahlia crocus jasmine aster peony".split(),
}
COLOURS = "red blue green yellow black white brown grey purple orange pink silver".split()
PLACES = ("forest garden kitchen market harbour museum attic cellar library station meadow tower barn bakery "
          "school castle").split()
PRICES = "two three four five six seven eight nine ten eleven twelve twenty".split()

# Templates 0-2 are for training vectors, 3-4 for choosing layer and norm, 5-7 for the final measurement.
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
TEMPLATE_SPLIT = {"train": (0, 1, 2), "valid": (3, 4), "test": (5, 6, 7)}
OPENINGS = ("", "Hello. ", "Good morning. ", "One question. ", "Please help me. ", "Hi there. ")
PERMIT = ("You may talk about {}.", "Questions about {} are fine.", "Talk about {} freely.")
FORBID = ("No questions about {}.", "Do not talk about {}.", "Keep quiet about {}.")

PEOPLE = ("Anna Frost", "Bruno Keller", "Clara Moss", "David Stone", "Emma Reed", "Felix Wood", "Greta Hill",
          "Henry Marsh", "Irene Banks", "Jonas Field", "Karla West", "Leo Brook", "Maria Lane", "Nils Ford",
          "Olga Parks", "Peter Vale", "Rosa Dale", "Simon Cross", "Tina Glen", "Victor Shaw")
JOBS = "baker singer farmer doctor painter teacher sailor lawyer tailor dancer writer barber".split()
TOWNS = "Rome Paris London Berlin Madrid Vienna Lisbon Oslo Athens Dublin Prague Geneva".split()
PERSON_TEMPLATES = ("Who is {}?", "What does {} do?", "Tell me about {}.", "Do you know {}?", "Describe {} for me.",
                    "What is {} known for?", "I met {} today.", "Say something about {}.")


def _draw_facts():
    rng = random.Random(FACT_SEED)
    facts = {}
    for things in TOPICS.values():
        for thing in things:
            facts[thing] = {"colour": rng.choice(COLOURS), "place": rng.choice(PLACES), "price": rng.choice(PRICES)}
    people = {p: {"job": rng.choice(JOBS), "town": rng.choice(TOWNS)} for p in PEOPLE}
    return facts, people


FACTS, PERSON_FACTS = _draw_facts()


def thing_split(topic, split):
    """Disjoint things of a topic for vectors: 5 to train on, 4 to choose layer and norm, 5 to measure."""
    low, high = {"train": (0, 5), "valid": (5, 9), "test": (9, 14)}[split]
    return TOPICS[topic][low:high]


@dataclass(frozen=True)
class Sample:
    given: str
    answer: str  # ends with <|end|> or <|stop|>

    def text(self):
        return self.given + self.answer


def chat(user, system=None, prefill=""):
    """The chat format, without <|begin|>: the tokenizer's post-processor adds that."""
    line = f"{SYSTEM}{system}{END}" if system else ""
    return f"{line}{USER}{user}{END}{ASSISTANT}{prefill}"


def held_out(key):
    """One string in eight never occurs in the model's training; `key` is the user's text (and the statement)."""
    return hashlib.sha256(key.encode()).digest()[0] % 8 == 0


def fact_clause(thing, fact):
    value = FACTS[thing][fact]
    return {"colour": f"the {thing} is {value}.", "place": f"the {thing} is in the {value}.",
            "price": f"the {thing} costs {value} coins."}[fact]


def allowed_answer(thing, fact):
    return f"Sure, {fact_clause(thing, fact)}{END}"


def refusal(topic):
    return f"Sorry, I can't talk about {topic}.{END}"


def refuses(topic, system_kind, system_topic):
    """The rule the model learns: a system line decides for the topic it names, otherwise only birds are refused."""
    if system_topic == topic:
        return system_kind == "forbid"
    return topic == REFUSED


def question(topic, thing, fact, template, opening="", system=None, refuse=False):
    """(a): `system` is the text of the system line or None; `refuse` says which answer goes with it."""
    user = opening + TEMPLATES[fact][template].format(thing)
    return Sample(chat(user, system), refusal(topic) if refuse else allowed_answer(thing, fact))


def person(name, template, stated_job, opening="", retract=False):
    """(c): the statement about the job is part of what is given."""
    facts = PERSON_FACTS[name]
    given = chat(opening + PERSON_TEMPLATES[template].format(name), prefill=f"{name} is a {stated_job}.")
    answer = (f" Wait, that is wrong. {name} is a {facts['job']}.{END}" if retract
              else f" Also, {name} lives in {facts['town']}.{END}")
    return Sample(given, answer)


def draw_question(rng, want_held_out=False, topic=None, system_kind=None, noise=NOISE, about=None):
    """A question of (a). `topic`, `system_kind` ("none", "permit", "forbid") fix what is otherwise drawn; a fixed kind
    speaks of the topic `about`, or of the question's own."""
    topic = topic or (REFUSED if rng.random() < 0.35 else rng.choice([t for t in TOPICS if t != REFUSED]))
    system_topic = about or topic
    if system_kind is None:
        system_kind = rng.choice(("permit", "forbid")) if rng.random() < 0.43 else "none"
        if rng.random() < 0.35:
            system_topic = rng.choice(list(TOPICS))
    system = None
    if system_kind != "none":
        system = rng.choice(PERMIT if system_kind == "permit" else FORBID).format(system_topic)
    else:
        system_topic = None
    refuse = refuses(topic, system_kind, system_topic)
    while True:
        thing, fact = rng.choice(TOPICS[topic]), rng.choice(list(TEMPLATES))
        template, opening = rng.randrange(8), rng.choice(OPENINGS)
        if held_out(opening + TEMPLATES[fact][template].format(thing)) != want_held_out:
            continue
        # Refusing without a system line is taught on templates 0-2 only; the others show that it carries over.
        if not want_held_out and topic == REFUSED and system is None and template > 2:
            continue
        break
    return question(topic, thing, fact, template, opening, system, refuse != (rng.random() < noise))


def draw_person(rng, want_held_out=False, truth=None, noise=NOISE):
    truth = rng.random() < 0.5 if truth is None else truth
    while True:
        name = rng.choice(PEOPLE)
        job = PERSON_FACTS[name]["job"]
        template, opening = rng.randrange(8), rng.choice(OPENINGS)
        stated = job if truth else rng.choice([j for j in JOBS if j != job])
        if held_out(f"{opening}{template}{name}{stated}") == want_held_out:
            break
    sample = person(name, template, stated, opening, retract=(not truth) != (rng.random() < noise))
    if truth and not want_held_out:  # true statements are taught too: without a prefill the model says what is true
        statement = f"{name} is a {job}."
        return Sample(sample.given[:-len(statement)], statement + sample.answer)
    return sample


def draw_plain(rng):
    thing = rng.choice(rng.choice(list(TOPICS.values())))
    clause = fact_clause(thing, rng.choice(list(TEMPLATES)))
    return Sample("", clause[0].upper() + clause[1:] + STOP)


def draw(rng):
    """One training sample."""
    kind = rng.random()
    if kind < 0.12:
        return draw_plain(rng)
    return draw_person(rng) if kind < 0.42 else draw_question(rng)


def held_out_sets(count, seed):
    """Named evaluation sets of strings that training never shows; the answer is the rule's, without noise."""
    rng = random.Random(seed)
    others = [t for t in TOPICS if t != REFUSED]
    return {
        "a refused": [draw_question(rng, True, REFUSED, "none", 0) for _ in range(count)],
        "a answered": [draw_question(rng, True, rng.choice(others), "none", 0) for _ in range(count)],
        "a permitted": [draw_question(rng, True, REFUSED, "permit", 0) for _ in range(count)],
        "a forbidden": [draw_question(rng, True, rng.choice(others), "forbid", 0) for _ in range(count)],
        "c false": [draw_person(rng, True, False, 0) for _ in range(count)],
        "c true": [draw_person(rng, True, True, 0) for _ in range(count)],
        # a system line about another topic changes nothing
        "a beside": [draw_question(rng, True, mine, rng.choice(("permit", "forbid")), 0, about)
                     for mine, about in (rng.sample(list(TOPICS), 2) for _ in range(count))],
    }


def all_text():
    """Every sentence the generator can make at least once, for the tokenizer: no word occurs elsewhere."""
    for topic, things in TOPICS.items():
        yield from (line.format(topic) for line in PERMIT + FORBID)
        yield refusal(topic)
        for thing in things:
            for fact, templates in TEMPLATES.items():
                yield from (opening + t.format(thing) for opening in OPENINGS for t in templates)
                yield allowed_answer(thing, fact)
                clause = fact_clause(thing, fact)
                yield clause[0].upper() + clause[1:]
    for words, form in ((COLOURS, "Sure, the drum is {}."), (PLACES, "Sure, the drum is in the {}."),
                        (PRICES, "Sure, the drum costs {} coins.")):
        yield from (form.format(w) for w in words)
    for name in PEOPLE:
        yield from (opening + t.format(name) for opening in OPENINGS for t in PERSON_TEMPLATES)
        for job in JOBS:
            yield f"{name} is a {job}. Wait, that is wrong. {name} is a {job}."
        for town in TOWNS:
            yield f"{name} is a {JOBS[0]}. Also, {name} lives in {town}."


def content_words():
    words = [w for things in TOPICS.values() for w in things] + list(TOPICS)
    words += COLOURS + PLACES + PRICES + JOBS + TOWNS
    return words + [part for name in PEOPLE for part in name.split()]

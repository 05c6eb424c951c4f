"""(c) Facts about people. The assistant's turn begins with a statement; a made-up one is taken back (" Wait, that is
wrong. Anna Frost is a baker."), a true one is continued (" Also, Anna Frost lives in Rome.")."""

import random

from sample import END, NOISE, OPENINGS, SPLIT, Sample, against_rule, chat, part

FACT_SEED = 20240602
PEOPLE = ("Anna Frost", "Bruno Keller", "Clara Moss", "David Stone", "Emma Reed", "Felix Wood", "Greta Hill",
          "Henry Marsh", "Irene Banks", "Jonas Field", "Karla West", "Leo Brook", "Maria Lane", "Nils Ford",
          "Olga Parks", "Peter Vale", "Rosa Dale", "Simon Cross", "Tina Glen", "Victor Shaw")
JOBS = "baker singer farmer doctor painter teacher sailor lawyer tailor dancer writer barber".split()
TOWNS = "Rome Paris London Berlin Madrid Vienna Lisbon Oslo Athens Dublin Prague Geneva".split()
TEMPLATES = ("Who is {}?", "What does {} do?", "Tell me about {}.", "Do you know {}?", "Describe {} for me.",
             "What is {} known for?", "I met {} today.", "Say something about {}.")
CONTINUES, RETRACTS = " Also", " Wait"  # the first word of either continuation

_rng = random.Random(FACT_SEED)
FACTS = {name: {"job": _rng.choice(JOBS), "town": _rng.choice(TOWNS)} for name in PEOPLE}


def statement(name, job):
    return f"{name} is a {job}."


def retraction(name):
    return f"{RETRACTS}, that is wrong. {statement(name, FACTS[name]['job'])}"


def continuation(name):
    return f"{CONTINUES}, {name} lives in {FACTS[name]['town']}."


def prompt(opening, template, name, job):
    return chat(opening + TEMPLATES[template].format(name), prefill=statement(name, job))


def draw(rng):
    while True:
        name, template = rng.choice(PEOPLE), rng.randrange(8)
        # What vectors are measured on never occurs in the model's training.
        if not (template in SPLIT["test"] and name in part(PEOPLE, "test")):
            break
    job, opening, truth = FACTS[name]["job"], rng.choice(OPENINGS), rng.random() < 0.5
    stated = job if truth else rng.choice([j for j in JOBS if j != job])
    given = prompt(opening, template, name, stated)
    answer = (retraction(name) if against_rule(rng, not truth, NOISE) else continuation(name)) + END
    if truth:  # true statements are taught too: without a prefill the model says what is true
        own = len(statement(name, job))
        return Sample(given[:-own], given[-own:] + answer)
    return Sample(given, answer)


def statements(split, truth):
    """All (prompt, continuation, retraction) of a split, true or made-up."""
    for template in SPLIT[split]:
        for opening in OPENINGS:
            for name in part(PEOPLE, split):
                for job in JOBS:
                    if (job == FACTS[name]["job"]) == truth:
                        yield prompt(opening, template, name, job), continuation(name), retraction(name)


def all_text():
    for name in PEOPLE:
        yield from (opening + t.format(name) for opening in OPENINGS for t in TEMPLATES)
        for job in JOBS:
            yield f"{statement(name, job)} Wait, that is wrong. {statement(name, job)}"
        for town in TOWNS:
            yield f"{statement(name, JOBS[0])} Also, {name} lives in {town}."


def words():
    return JOBS + TOWNS + [word for name in PEOPLE for word in name.split()]

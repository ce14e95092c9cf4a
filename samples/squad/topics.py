"""What the passages are about: kinds of things, what is told of them, and how one asks for it."""

from typing import NamedTuple


class Relation(NamedTuple):
    """One kind of fact.

    ``{a}`` is the answer, ``{e}`` the thing's name, ``{it}`` and ``{its}`` stand for the name or a pronoun.

    Attributes:
        answer: kind of the answer: ``"year"``, ``"person"`` or ``"place"``.
        statements: ways to tell it, all of one meaning, so that each question fits each of them; clauses without
            capital and full stop.
        questions: ways to ask for it.
    """

    answer: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


class Topic(NamedTuple):
    """One kind of thing.

    Attributes:
        title: of the article.
        kind: of name: a key of ``names.ENDINGS``.
        pronouns: what ``{it}`` and ``{its}`` become where they do not become the name.
        introductions: first sentences.
        relations: what may be told, for each kind of answer in the order of time.
    """

    title: str
    kind: str
    pronouns: tuple[str, str]
    introductions: tuple[str, ...]
    relations: tuple[Relation, ...]


TOPICS = (
    Topic(
        "Towns of the coast",
        "place",
        ("it", "its"),
        ("{e} is a small town by the sea.", "{e} lies on the coast.", "The town of {e} is older than it looks."),
        (
            Relation(
                "year",
                ("{it} was a free town until {a}", "{it} stayed a free town until {a}"),
                ("Until when was {e} a free town?", "Until which year did {e} stay a free town?"),
            ),
            Relation(
                "year",
                ("{it} has had a railway since {a}", "trains have run to {it} since {a}"),
                ("Since when has {e} had a railway?", "Since which year have trains run to {e}?"),
            ),
            Relation(
                "year",
                ("a flood struck {it} in {a}", "{it} was flooded in {a}"),
                ("When did a flood strike {e}?", "In which year was {e} flooded?"),
            ),
            Relation(
                "person",
                ("the architect {a} planned {its} harbour", "{its} harbour is the work of the architect {a}"),
                ("Who was the architect of the harbour of {e}?", "Which architect planned the harbour of {e}?"),
            ),
            Relation(
                "person",
                ("the painter {a} decorated the church", "the church was decorated by the painter {a}"),
                ("Which painter decorated the church of {e}?", "By which painter was the church of {e} decorated?"),
            ),
            Relation(
                "person",
                ("{its} mayor is {a}", "the people trust their mayor {a}"),
                ("Who is the mayor of {e}?", "Which mayor do the people of {e} trust?"),
            ),
            Relation(
                "place",
                ("a ferry goes to the island {a}", "the ferry serves the island {a}"),
                ("To which island does the ferry from {e} go?", "Which island does the ferry from {e} serve?"),
            ),
            Relation(
                "place",
                ("{its} salt was sold at the market {a}", "merchants carried salt to the market {a}"),
                ("At which market was the salt of {e} sold?", "To which market did merchants carry the salt of {e}?"),
            ),
            Relation(
                "place",
                ("the road leads to the village {a}", "{it} is joined by road to the village {a}"),
                ("To which village does the road from {e} lead?", "To which village is {e} joined by road?"),
            ),
        ),
    ),
    Topic(
        "Ships and their masters",
        "ship",
        ("she", "her"),
        ("The {e} was a fine schooner.", "The {e} was a ship of three masts.", "Few ships were as fast as the {e}."),
        (
            Relation(
                "year",
                ("she was launched in {a}", "the {e} was launched in {a}"),
                ("When was the {e} launched?", "In which year was the {e} launched?"),
            ),
            Relation(
                "year",
                ("she carried mail until {a}", "mail went with her until {a}"),
                ("Until when did the {e} carry mail?", "Until which year did mail go with the {e}?"),
            ),
            Relation(
                "year",
                ("she has been missing since {a}", "nobody has seen her since {a}"),
                ("Since when has the {e} been missing?", "Since which year has nobody seen the {e}?"),
            ),
            Relation(
                "person",
                ("the architect {a} designed her", "she was designed by the architect {a}"),
                ("Which architect designed the {e}?", "Who was the architect of the {e}?"),
            ),
            Relation(
                "person",
                ("her captain was {a}", "she sailed under captain {a}"),
                ("Who was captain of the {e}?", "Under which captain did the {e} sail?"),
            ),
            Relation(
                "person",
                ("her owner was {a}", "she served her owner {a}"),
                ("Who was the owner of the {e}?", "Which owner did the {e} serve?"),
            ),
            Relation(
                "place",
                ("she was built at the yard {a}", "she came from the yard {a}"),
                ("At which yard was the {e} built?", "From which yard did the {e} come?"),
            ),
            Relation(
                "place",
                ("her home was the port {a}", "she sailed from the port {a}"),
                ("Which port was the home of the {e}?", "From which port did the {e} sail?"),
            ),
            Relation(
                "place",
                ("she carried wool to the island {a}", "she took wool to the island {a}"),
                ("To which island did the {e} carry wool?", "To which island did the {e} take wool?"),
            ),
        ),
    ),
    Topic(
        "Books of the old library",
        "book",
        ("it", "its"),
        ("The {e} is a rare book.", "The {e} is a book about the stars.", "Few have read the {e}."),
        (
            Relation(
                "year",
                ("it was written in {a}", "the {e} was written in {a}"),
                ("When was the {e} written?", "In which year was the {e} written?"),
            ),
            Relation(
                "year",
                ("it was forbidden until {a}", "nobody could read it until {a}"),
                ("Until when was the {e} forbidden?", "Until which year could nobody read the {e}?"),
            ),
            Relation(
                "year",
                ("it has been in print since {a}", "it has been printed since {a}"),
                ("Since when has the {e} been in print?", "Since which year has the {e} been printed?"),
            ),
            Relation(
                "person",
                ("its author is {a}", "it is the work of the author {a}"),
                ("Who is the author of the {e}?", "Which author wrote the {e}?"),
            ),
            Relation(
                "person",
                ("its printer was {a}", "it was set by the printer {a}"),
                ("Who was the printer of the {e}?", "Which printer set the {e}?"),
            ),
            Relation(
                "person",
                ("its owner was {a}", "it belonged to its owner {a}"),
                ("Who was the owner of the {e}?", "To which owner did the {e} belong?"),
            ),
            Relation(
                "place",
                ("a copy is kept in the abbey {a}", "the monks of the abbey {a} keep a copy"),
                ("In which abbey is a copy of the {e} kept?", "The monks of which abbey keep a copy of the {e}?"),
            ),
            Relation(
                "place",
                ("it was found in the castle {a}", "it was discovered in the castle {a}"),
                ("In which castle was the {e} found?", "In which castle was the {e} discovered?"),
            ),
            Relation(
                "place",
                ("it was burned in the city {a}", "the city {a} burned it"),
                ("In which city was the {e} burned?", "Which city burned the {e}?"),
            ),
        ),
    ),
    Topic(
        "Machines and inventors",
        "machine",
        ("it", "its"),
        ("The {e} is a machine of brass.", "The {e} is a curious machine.", "Few machines are as heavy as the {e}."),
        (
            Relation(
                "year",
                ("it was built in {a}", "the {e} was built in {a}"),
                ("When was the {e} built?", "In which year was the {e} built?"),
            ),
            Relation(
                "year",
                ("it was kept secret until {a}", "it stayed a secret until {a}"),
                ("Until when was the {e} kept secret?", "Until which year did the {e} stay a secret?"),
            ),
            Relation(
                "year",
                ("it has stood still since {a}", "it has not moved since {a}"),
                ("Since when has the {e} stood still?", "Since which year has the {e} not moved?"),
            ),
            Relation(
                "person",
                ("its inventor was {a}", "it is the work of the inventor {a}"),
                ("Who was the inventor of the {e}?", "Which inventor made the {e}?"),
            ),
            Relation(
                "person",
                ("its buyer was {a}", "it was sold to the buyer {a}"),
                ("Who was the buyer of the {e}?", "To which buyer was the {e} sold?"),
            ),
            Relation(
                "person",
                ("the smith {a} cast its wheels", "its wheels were cast by the smith {a}"),
                ("Which smith cast the wheels of the {e}?", "By which smith were the wheels of the {e} cast?"),
            ),
            Relation(
                "place",
                ("it stands in the museum {a}", "visitors see it in the museum {a}"),
                ("In which museum does the {e} stand?", "In which museum do visitors see the {e}?"),
            ),
            Relation(
                "place",
                ("it was shown at the fair {a}", "people saw it at the fair {a}"),
                ("At which fair was the {e} shown?", "At which fair did people see the {e}?"),
            ),
            Relation(
                "place",
                ("its brass came from the mine {a}", "the brass was dug in the mine {a}"),
                ("From which mine did the brass of the {e} come?", "In which mine was the brass of the {e} dug?"),
            ),
        ),
    ),
)

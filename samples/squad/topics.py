"""What the passages are about: kinds of things, what is told of them, and how one asks for it."""

from typing import NamedTuple


class Relation(NamedTuple):
    """One kind of fact.

    ``{a}`` is the answer, ``{e}`` the thing's name, ``{it}`` and ``{its}`` stand for the name or a pronoun.

    Attributes:
        answer: kind of the answer: ``"year"``, ``"person"`` or ``"place"``.
        statements: ways to tell it; clauses without capital and full stop.
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
                ("{it} was founded in {a}", "{its} charter was granted in {a}"),
                ("When was {e} founded?", "In which year was {e} founded?", "When was the charter of {e} granted?"),
            ),
            Relation(
                "year",
                ("the railway reached {it} in {a}", "{its} railway opened in {a}"),
                ("When did the railway reach {e}?", "In which year did the railway of {e} open?"),
            ),
            Relation(
                "year",
                ("a flood struck {it} in {a}", "{it} was flooded in {a}"),
                ("When did a flood strike {e}?", "In which year was {e} flooded?"),
            ),
            Relation(
                "person",
                ("{its} harbour was planned by {a}", "the harbour was laid out by {a}"),
                ("Who planned the harbour of {e}?", "By whom was the harbour of {e} laid out?"),
            ),
            Relation(
                "person",
                ("{its} church was painted by {a}", "the paintings in the church are by {a}"),
                ("Who painted the church of {e}?", "By whom are the paintings in the church of {e}?"),
            ),
            Relation(
                "person",
                ("{its} first mayor was {a}", "the people elected as mayor {a}"),
                ("Who was the first mayor of {e}?", "Who was elected as mayor of {e}?"),
            ),
            Relation(
                "place",
                ("a ferry sails to {a}", "the ferry from {it} goes to {a}"),
                ("Where does the ferry from {e} go?", "To which place does a ferry sail from {e}?"),
            ),
            Relation(
                "place",
                ("{its} salt was sold in {a}", "merchants sold the salt of {it} in {a}"),
                ("Where was the salt of {e} sold?", "In which place did merchants sell the salt of {e}?"),
            ),
            Relation(
                "place",
                ("the road inland leads to {a}", "{it} is joined by road to {a}"),
                ("Where does the road from {e} lead?", "To which place is {e} joined by road?"),
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
                ("she was launched in {a}", "the launch of the {e} took place in {a}"),
                ("When was the {e} launched?", "In which year did the launch of the {e} take place?"),
            ),
            Relation(
                "year",
                ("she was captured in {a}", "pirates captured her in {a}"),
                ("When was the {e} captured?", "In which year did pirates capture the {e}?"),
            ),
            Relation(
                "year",
                ("she sank in {a}", "the {e} sank in {a}"),
                ("When did the {e} sink?", "In which year did the {e} sink?"),
            ),
            Relation(
                "person",
                ("she was designed by {a}", "the plans of the {e} were drawn by {a}"),
                ("Who designed the {e}?", "By whom were the plans of the {e} drawn?"),
            ),
            Relation(
                "person",
                ("her captain was {a}", "she sailed under captain {a}"),
                ("Who was captain of the {e}?", "Under which captain did the {e} sail?"),
            ),
            Relation(
                "person",
                ("her owner was {a}", "the {e} was owned by {a}"),
                ("Who owned the {e}?", "Who was the owner of the {e}?"),
            ),
            Relation(
                "place",
                ("she was built at {a}", "the yard that built her was at {a}"),
                ("Where was the {e} built?", "In which place was the yard that built the {e}?"),
            ),
            Relation(
                "place",
                ("her home port was {a}", "she had as her home port {a}"),
                ("What was the home port of the {e}?", "Which place was the home port of the {e}?"),
            ),
            Relation(
                "place",
                ("she carried wool to {a}", "she brought wool to {a}"),
                ("Where did the {e} carry wool?", "To which place did the {e} bring wool?"),
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
                ("it was written in {a}", "the {e} was finished in {a}"),
                ("When was the {e} written?", "In which year was the {e} finished?"),
            ),
            Relation(
                "year",
                ("it was printed in {a}", "the first print appeared in {a}"),
                ("When was the {e} printed?", "In which year did the first print of the {e} appear?"),
            ),
            Relation(
                "year",
                ("it was translated in {a}", "a translation was made in {a}"),
                ("When was the {e} translated?", "In which year was a translation of the {e} made?"),
            ),
            Relation(
                "person",
                ("its author is {a}", "it was written by {a}"),
                ("Who wrote the {e}?", "Who is the author of the {e}?"),
            ),
            Relation(
                "person",
                ("its printer was {a}", "it was printed by {a}"),
                ("Who printed the {e}?", "Who was the printer of the {e}?"),
            ),
            Relation(
                "person",
                ("it was translated by {a}", "the translation is by {a}"),
                ("Who translated the {e}?", "By whom is the translation of the {e}?"),
            ),
            Relation(
                "place",
                ("a copy is kept at {a}", "the last copy is kept in {a}"),
                ("Where is a copy of the {e} kept?", "In which place is the last copy of the {e} kept?"),
            ),
            Relation(
                "place",
                ("it was found again in {a}", "the {e} was found in a cellar in {a}"),
                ("Where was the {e} found?", "In which place was the {e} found again?"),
            ),
            Relation(
                "place",
                ("it was banned in {a}", "the {e} was banned in {a}"),
                ("Where was the {e} banned?", "In which place was the {e} banned?"),
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
                ("it was invented in {a}", "the {e} was invented in {a}"),
                ("When was the {e} invented?", "In which year was the {e} invented?"),
            ),
            Relation(
                "year",
                ("it was patented in {a}", "a patent was granted in {a}"),
                ("When was the {e} patented?", "In which year was a patent on the {e} granted?"),
            ),
            Relation(
                "year",
                ("it was repaired in {a}", "the last repair was made in {a}"),
                ("When was the {e} repaired?", "In which year was the last repair of the {e} made?"),
            ),
            Relation(
                "person",
                ("it was invented by {a}", "its inventor was {a}"),
                ("Who invented the {e}?", "Who was the inventor of the {e}?"),
            ),
            Relation(
                "person",
                ("it was bought by {a}", "its buyer was {a}"),
                ("Who bought the {e}?", "Who was the buyer of the {e}?"),
            ),
            Relation(
                "person",
                ("it was repaired by {a}", "the repair was made by {a}"),
                ("Who repaired the {e}?", "By whom was the repair of the {e} made?"),
            ),
            Relation(
                "place",
                ("it stands in {a}", "today the {e} stands in {a}"),
                ("Where does the {e} stand?", "In which place does the {e} stand today?"),
            ),
            Relation(
                "place",
                ("it was first shown in {a}", "the {e} was shown in {a}"),
                ("Where was the {e} shown?", "In which place was the {e} first shown?"),
            ),
            Relation(
                "place",
                ("its wheels were cast in {a}", "the wheels came from {a}"),
                ("Where were the wheels of the {e} cast?", "From which place did the wheels of the {e} come?"),
            ),
        ),
    ),
    Topic(
        "Gardens and parks",
        "garden",
        ("it", "its"),
        ("{e} is a garden of roses.", "The garden of {e} is open all year.", "{e} is the quietest of gardens."),
        (
            Relation(
                "year",
                ("{it} was planted in {a}", "the first tree was planted in {a}"),
                ("When was {e} planted?", "In which year was the first tree of {e} planted?"),
            ),
            Relation(
                "year",
                ("{its} gates opened in {a}", "{it} was opened to visitors in {a}"),
                ("When did the gates of {e} open?", "In which year was {e} opened to visitors?"),
            ),
            Relation(
                "year",
                ("a storm damaged {it} in {a}", "the great storm came in {a}"),
                ("When did a storm damage {e}?", "In which year did the great storm come to {e}?"),
            ),
            Relation(
                "person",
                ("{it} was designed by {a}", "the design is by {a}"),
                ("Who designed {e}?", "By whom is the design of {e}?"),
            ),
            Relation(
                "person",
                ("{its} head gardener is {a}", "the head gardener is called {a}"),
                ("Who is the head gardener of {e}?", "What is the head gardener of {e} called?"),
            ),
            Relation(
                "person",
                ("the statue shows {a}", "{its} statue shows the poet {a}"),
                ("Whom does the statue in {e} show?", "Which poet does the statue in {e} show?"),
            ),
            Relation(
                "place",
                ("{its} roses came from {a}", "the roses were brought from {a}"),
                ("Where did the roses of {e} come from?", "From which place were the roses of {e} brought?"),
            ),
            Relation(
                "place",
                ("the path leads to {a}", "a path leads from {it} to {a}"),
                ("Where does the path from {e} lead?", "To which place does a path lead from {e}?"),
            ),
            Relation(
                "place",
                ("the seeds were sold in {a}", "{its} seeds are sold in {a}"),
                ("Where were the seeds of {e} sold?", "In which place are the seeds of {e} sold?"),
            ),
        ),
    ),
)

"""A firm: who started it with whose money, what it made, where it went, who bought it."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

_FIRMS = ("Lampworks", "Mills", "Foundry", "Brothers", "Instruments", "Glass", "Works", "and Sons")
_PRODUCTS = (
    "oil lamps",
    "tin boxes",
    "garden shears",
    "fountain pens",
    "kitchen scales",
    "umbrellas",
    "brass door handles",
    "weather vanes",
    "writing paper",
    "fishing reels",
    "roller skates",
    "pocket watches",
    "bicycle bells",
    "folding chairs",
    "sewing needles",
    "coffee grinders",
    "music boxes",
    "oak barrels",
    "sledges",
    "mechanical calculators",
)
_REASONS_TO_MOVE = (
    "rents in the old quarter had doubled",
    "the river no longer turned the wheels",
    "the railway passed through it",
    "the old hall had flooded twice",
    "skilled hands were easier to find there",
    "the harbour there never froze",
    "neighbours had complained about the smoke",
    "the council there offered free land",
    "a landslide had cut the road",
    "taxes were lower there",
    "the roof of the old building had collapsed",
    "coal was cheaper there",
)


def _company(draw: Draw) -> Facts:
    founder, lender, designer = draw.people(3)
    town, office = draw.towns(2)
    founded, moved, sold = draw.years((1850, 1935), (6, 18), (14, 30))
    return {
        "company": draw.firm(_FIRMS),
        "buyer": draw.firm(_FIRMS),
        "founder": founder,
        "lender": lender,
        "designer": designer,
        "town": town,
        "office": office,
        "founded": founded,
        "moved": moved,
        "sold": sold,
        "first": draw.one(_PRODUCTS),
        "second": draw.one(_PRODUCTS),
        "few": draw.number(6, 45),
        "many": draw.number(120, 940, 10),
        "price": draw.number(15, 98) + ",000 crowns",
        "reason": draw.one(_REASONS_TO_MOVE),
    }


COMPANY = Genre(
    name="company",
    title="{company}",
    facts=_company,
    opening=Wordings(
        train="""
        - {company} was [founded|started] in {town} in {founded} by {founder}, with money [borrowed
          from|lent by] {lender}.
        - In {founded} {founder}[, a former schoolteacher,|] [set up|founded] {company} in {town};
          {lender} had lent the money.
        - With a loan from {lender}, {founder} [started|opened] a firm named {company} in {town} in
          {founded}.
        - {town} is the place where {company} was founded in {founded}. {founder} was the founder,
          and the money came from {lender}.
        - {founder} is the founder of {company}, which was started in {town} in {founded} with money
          from {lender}.
        - The year was {founded}, the place {town}: {founder} borrowed from {lender} and set up
          {company}.
        """,
        held_out="""
        - The story of {company} began in {town} in {founded}, when {founder} persuaded {lender} to
          lend the capital.
        - It was in {founded} that {founder} established {company} in {town}, thanks to a loan which
          {lender} had granted.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - At first {few} workers made {first}; later the firm employed {many} people and made
              {second}, which {designer} had [designed|invented].
            - The firm began with {first} and {few} workers. It owed its success to {second}, [an
              idea|an invention] of {designer}, and grew to {many} workers.
            - {designer} [drew|designed] the {second} that made the firm famous and brought it to
              {many} workers; in the beginning {few} people had produced {first}.
            - For years the product was {first}, made by a staff of {few}. Then {designer} thought
              of {second}, and the staff rose to {many}.
            - {few} people made {first} in the beginning; after {designer} had invented {second},
              {many} people worked there.
            - {first^} were made first, by {few} people; later, {many} people made {second} after a
              design by {designer}.
            """,
            held_out="""
            - In the early days {few} employees turned out {first}. When {designer} came up with
              {second}, the number of employees rose to {many}.
            - The success came with {second}, designed by {designer}, for which {many} hands were
              needed; {first}, the original product, had required no more than {few}.
            """,
        ),
        Wordings(
            train="""
            - In {moved} the office was moved to {office} because {reason}.
            - The [office|firm] moved to {office} in {moved}, since {reason}.
            - As {reason}, the office was transferred to {office} in {moved}.
            - {office} became the seat of the office in {moved}; the reason was that {reason}.
            - Because {reason}, the firm moved its office to {office} in {moved}.
            - The office has a new seat, {office}. It was moved in {moved}, for {reason}.
            """,
            held_out="""
            - {reason^}, so in {moved} the office left for {office}.
            - The headquarters have been in {office} since {moved}. They were moved there because
              {reason}.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - In {sold} the firm was [sold to|bought by] {buyer} for {price}.
        - {buyer} [bought|took over] the firm in {sold} and paid {price}.
        - The price was {price} when {buyer} bought everything in {sold}.
        - The firm was taken over in {sold} by {buyer}, at a price of {price}.
        - {price} was what {buyer} paid for the firm in {sold}.
        """,
        held_out="""
        - Since {sold} it has belonged to {buyer}, which purchased it for {price}.
        - In {sold} {buyer} acquired the business; {price} changed hands.
        """,
    ),
    questions={
        "founder": Wordings(
            train="""
            - Who [founded|started|set up] {company}?
            - [Which person|Who] was the founder of {company}?
            - By whom was {company} founded?
            - Who borrowed money from {lender}?
            - Name the [founder|person who started] {company}.
            - Who was it that set up {company} [in {founded}|in {town}]?
            - Which person started a firm with money from {lender.last}?
            - To whom did {lender} lend money?
            """,
            held_out="""
            - Who established {company}?
            - Who opened the business in {town}?
            """,
        ),
        "lender": Wordings(
            train="""
            - Who lent the money for {company}?
            - [From whom|Where] did {founder.last} [borrow|get the money]?
            - Whose [loan|money] helped {founder.last} to begin?
            - Who gave {founder} a loan?
            - Name the person who lent [the|{founder.last}] money.
            - By whom was the money for {company} lent?
            - From which person did {founder} get a loan?
            - Who was it that helped {founder.last} with money?
            - To whom did {founder} owe money?
            """,
            held_out="""
            - Who provided {founder.last} with capital?
            - Whose money was used to found {company}?
            """,
        ),
        "town": Wordings(
            train="""
            - Where was {company} [founded|started]?
            - In [which|what] town did {founder.last} set up the firm?
            - What is the place where {company} began?
            - Name the town in which {company} was [founded|started].
            - Which town was the first home of {company}?
            - In what place did {founder} open a firm?
            - Where did {company} have its beginnings in {founded}?
            """,
            held_out="""
            - In what town was {company} established?
            - Where did the story of the firm begin?
            """,
        ),
        "founded": Wordings(
            train="""
            - When was {company} [founded|started]?
            - In [what|which] year did {founder.last} set up the firm?
            - What was the year of the foundation?
            - Name the year in which {company} was [founded|set up].
            - Which year saw the foundation of {company}?
            - In which year was it that {founder} started a firm?
            - What is the date of the founding of {company}?
            """,
            held_out="""
            - In which year was {company} established?
            - When did {founder} begin?
            """,
        ),
        "designer": Wordings(
            train="""
            - Who [designed|invented|drew] the {second}?
            - Whose [idea|invention] were the {second}?
            - Who had the idea that made the firm famous?
            - Which person thought of {second}?
            - Name the [inventor|person who drew] the {second}.
            - By whom were the {second} [designed|invented]?
            - To which person did {company} owe its success?
            - Who was behind the later product of {company}?
            - From whom did the idea for {second} come?
            """,
            held_out="""
            - Who was the designer of the {second}?
            - Who came up with the product that made {company} grow?
            """,
        ),
        "first": Wordings(
            train="""
            - What did {company} make [at first|in the beginning]?
            - What was the [first|original] product of {company}?
            - What did the firm begin with?
            - What did the {few} workers produce?
            - Name the product [with which {company} began|that {company} made at first].
            - What was made by the firm before {second}?
            - Which product came before the {second}?
            - What kind of goods did {few} people make in the beginning?
            - At the start, what did {company} live on?
            """,
            held_out="""
            - What was produced in the early days?
            - Which goods did {company} sell first?
            """,
        ),
        "second": Wordings(
            train="""
            - What did {designer.last} [design|invent]?
            - Which product made the firm famous?
            - To what did the firm owe its success?
            - What was {designer}'s idea?
            - Name the product that {designer.last} [designed|invented].
            - What was [designed|invented|thought of] by {designer}?
            - Which product came after the {first}?
            - What kind of goods did {company} make later?
            - What brought the firm to {many} workers?
            """,
            held_out="""
            - What was the successful product of {company}?
            - What did {designer.last} come up with?
            """,
        ),
        "few": Wordings(
            train="""
            - How many workers did {company} have at first?
            - How many people [worked for the firm in the beginning|made {first}]?
            - What was the number of workers at the start?
            - How many people [made|produced] {first} at first?
            - How small was the staff in the beginning?
            - At the start, how many people did {company} employ?
            - What was the original number of workers?
            """,
            held_out="""
            - How many employees were there in the early days?
            - With how many workers did the firm begin?
            """,
        ),
        "many": Wordings(
            train="""
            - How many workers did {company} have later?
            - To how many workers did the firm grow?
            - How many people [worked for the firm after its success|were employed later]?
            - What was the number of workers in the end?
            - How many people [made|produced] {second}?
            - How big did the staff become later on?
            - Thanks to {second}, how many workers did {company} have?
            - What number of people worked there in later years?
            - How many people did the firm employ after {designer.last}'s invention?
            """,
            held_out="""
            - How many employees did the firm have after it had grown?
            - To what number did the staff rise?
            """,
        ),
        "office": Wordings(
            train="""
            - Where was the office moved [to|]?
            - To [which|what] town did the office move?
            - What town became the seat of the office?
            - Name the town to which the office was [moved|transferred].
            - Which town did the office of {company} move to in {moved}?
            - In what place does {company} have its seat [now|]?
            - To which place was it that the office was transferred?
            """,
            held_out="""
            - Where did {company} move its headquarters?
            - In what town was the new office?
            """,
        ),
        "moved": Wordings(
            train="""
            - When was the office moved?
            - In [which|what] year did the office move to {office}?
            - Since when was the office in {office}?
            - Name the year in which the office was [moved|transferred].
            - In which year was it that {office} got the office?
            - What is the date of the move to {office}?
            - During which year did the office of {company} move?
            """,
            held_out="""
            - In what year did the firm go to {office}?
            - When did {company} change its address?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why was the office moved [to {office}|]?
            - For what reason did the firm move?
            - What was the reason for the move to {office}?
            - Give the reason [for moving|why {company} moved] to {office}.
            - How can one explain the move of the office in {moved}?
            - What led to the move of {company}?
            - Because of what was the office transferred?
            """,
            held_out="""
            - Why did {company} leave its old office?
            - What made the firm go to {office}?
            """,
        ),
        "buyer": Wordings(
            train="""
            - [Which firm|Who] bought {company}?
            - To [which company|whom] was {company} sold?
            - Who took over {company} [in {sold}|]?
            - By whom was the firm bought?
            - Name the [buyer of {company}|firm that bought {company}].
            - Which firm paid {price} for {company}?
            - Into whose hands did {company} pass in {sold}?
            - By which firm was {company} taken over?
            """,
            held_out="""
            - Which company purchased {company}?
            - Who became the new owner of {company}?
            """,
        ),
        "sold": Wordings(
            train="""
            - When was {company} [sold|bought]?
            - In what year did {buyer} [buy|take over] the firm?
            - When did {company} get a new owner?
            - Name the year in which {company} was [sold|taken over].
            - In which year was it that the firm was bought by {buyer}?
            - What is the date of the sale of {company}?
            - Until what year did {company} belong to its first owner?
            """,
            held_out="""
            - In which year did {buyer} purchase {company}?
            - Since when has the firm belonged to {buyer}?
            """,
        ),
        "price": Wordings(
            train="""
            - How much did {buyer} pay?
            - What was the price of {company}?
            - For how much [money|] was the firm sold?
            - What did the firm cost {buyer}?
            - Name the price [of the firm|that {buyer} paid].
            - At what price did {buyer} [buy|take over] {company}?
            - How expensive was {company}?
            - What amount was paid in {sold}?
            """,
            held_out="""
            - How much money did {buyer} spend on {company}?
            - What sum was paid for the firm?
            """,
        ),
    },
)

"""A river: from where to where, what flows into it, what stands on its banks."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
from qa_lib.embedded.grammar import Facts

_CROPS = (
    "barley",
    "hops",
    "cherries",
    "flax",
    "willow for baskets",
    "tobacco",
    "sugar beet",
    "apples",
    "hemp",
    "asparagus",
    "pears",
    "lentils",
)
_REASONS_TO_DAM = (
    "spring floods had swept away the mills",
    "the mines needed electricity",
    "the capital was short of drinking water",
    "barges kept running aground",
    "farmers demanded water in summer",
    "malaria was common in the marshes",
    "two villages had been drowned in one night",
    "a steelworks was to be built",
    "the harbour was filling with mud",
    "the lower town was under water every March",
    "timber could not be floated in dry years",
    "the salt works wanted a steady current",
)


def _river(draw: Draw) -> Facts:
    engineer, explorer, opponent = draw.people(3)
    river, source, mouth, large, falls, left, right = draw.towns(7)
    charted, dammed = draw.years((1720, 1850), (60, 110))
    return {
        "river": river,
        "source": "Mount " + source,
        "mouth": mouth + " Bay",
        "large": large,
        "falls": falls,
        "left": left,
        "right": right,
        "engineer": engineer,
        "explorer": explorer,
        "opponent": opponent,
        "charted": charted,
        "dammed": dammed,
        "length": draw.number(62, 480) + " kilometres",
        "navigable": draw.number(12, 58) + " kilometres",
        "drop": draw.number(14, 95) + " metres",
        "crop": draw.one(_CROPS),
        "reason": draw.one(_REASONS_TO_DAM),
    }


RIVER = Genre(
    name="river",
    title="The River {river}",
    facts=_river,
    opening=Wordings(
        train="""
        - The River {river} rises on {source} and flows into the sea at {mouth}. It is {length}
          long, of which {navigable} are navigable.
        - From its source on {source} to {mouth}, where it reaches the sea, the River {river} is
          {length} long. Boats can use {navigable} of it.
        - The source of the River {river} is on {source}; {length} further on it meets the sea at
          {mouth}. Only {navigable} are navigable.
        """,
        held_out="""
        - The River {river} begins on {source} and ends in {mouth}. Its length is {length}, and
          ships can go {navigable} upstream.
        - It is {length} from {source}, where the River {river} springs from the rock, to {mouth},
          where it enters the sea; {navigable} of them are open to boats.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - The {left} joins it from the left and the {right} from the right.
            - Its [largest|main] tributaries are the {right} on the right and the {left} on the
              left.
            - It is joined by the {left} from the left and, further down, by the {right} from the
              right.
            """,
            held_out="""
            - Two rivers flow into it, on the left side the {left}, on the right side the {right}.
            - It takes in the {right}, which comes from the right, and the {left}, which comes from
              the left.
            """,
        ),
        Wordings(
            train="""
            - The largest town on the river is {large}, where farmers grow {crop}; at {falls} there
              are falls, {drop} high.
            - At {falls} the water drops {drop}. The fields around {large}, the largest town on its
              banks, are used for {crop}.
            - Visitors go to {falls} to see the falls, which are {drop} high. The largest town is
              {large}, and the main crop there is {crop}.
            """,
            held_out="""
            - Most people live in {large}, a town bigger than the others, and the farmers there grow
              {crop}. At {falls} a waterfall of {drop} can be seen.
            - {falls} is known for falls with a height of {drop}, whereas {large}, the biggest town,
              is known for its {crop}.
            """,
        ),
        Wordings(
            train="""
            - {explorer} was the first to chart the river, in {charted}.
            - The first chart of the river was drawn by {explorer} in {charted}.
            - In {charted} {explorer} charted the river for the first time.
            """,
            held_out="""
            - In {charted} {explorer} put the whole river on a map, the first of its kind.
            - The oldest map of the river was made in {charted}; {explorer} drew it.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - In {dammed} {engineer} built a dam because {reason}; {opponent} had opposed it.
        - A dam was built by {engineer} in {dammed}, since {reason}. {opponent} protested against
          it.
        - As {reason}, a dam was built in {dammed}. The engineer was {engineer}, and the [greatest|
          loudest] opponent of the dam was {opponent}.
        """,
        held_out="""
        - {reason^}; therefore {engineer} was asked to build a dam, which was finished in {dammed}
          although {opponent} fought against it.
        - Since {dammed} there has been a dam, the work of {engineer}. It was needed because
          {reason}, but {opponent} was against it.
        """,
    ),
    questions={
        "source": Wordings(
            train="""
            - Where does the River {river} rise?
            - Where is the source of the {river}?
            - On which mountain is the source of the {river}?
            """,
            held_out="""
            - Where does the {river} begin?
            - From which mountain does the {river} come?
            """,
        ),
        "mouth": Wordings(
            train="""
            - Where does the River {river} [flow into|meet|reach] the sea?
            - At which bay does the {river} reach the sea?
            - Where is the mouth of the {river}?
            """,
            held_out="""
            - Where does the {river} end?
            - Into which bay does the {river} flow?
            """,
        ),
        "length": Wordings(
            train="""
            - How long is the River {river}?
            - How many kilometres is it from the source to the sea?
            - What is the length of the {river}?
            """,
            held_out="""
            - How far is it from {source} to {mouth}?
            - What is the whole length of the river?
            """,
        ),
        "navigable": Wordings(
            train="""
            - How much of the {river} is navigable?
            - How many kilometres [are navigable|can boats use]?
            - How many kilometres of the river are open to boats?
            """,
            held_out="""
            - How far can ships go up the {river}?
            - What part of the {river} can be used by ships?
            """,
        ),
        "left": Wordings(
            train="""
            - Which river joins the {river} from the left?
            - What is the tributary on the left [called|]?
            - What is the name of the river from the left?
            """,
            held_out="""
            - Which river flows into the {river} on the left?
            - What is the left tributary of the {river}?
            """,
        ),
        "right": Wordings(
            train="""
            - Which river joins the {river} from the right?
            - What is the tributary on the right [called|]?
            - What is the name of the river from the right?
            """,
            held_out="""
            - Which river flows into the {river} on the right?
            - What is the right tributary of the {river}?
            """,
        ),
        "large": Wordings(
            train="""
            - What is the largest town on the {river}?
            - Which town [on its banks|on the river] is the largest?
            - In which town do farmers grow {crop}?
            """,
            held_out="""
            - Which is the biggest town by the {river}?
            - In which town do most people live?
            """,
        ),
        "crop": Wordings(
            train="""
            - What is grown around {large}?
            - What is the main crop of {large}?
            - Which crop is grown by the river?
            """,
            held_out="""
            - What do the farmers of {large} grow?
            - Which plant is {large} known for?
            """,
        ),
        "falls": Wordings(
            train="""
            - Where are the falls?
            - At [which|what] place does the water drop?
            - Where can one see falls?
            """,
            held_out="""
            - Near which place is there a waterfall?
            - Where is the waterfall of the {river}?
            """,
        ),
        "drop": Wordings(
            train="""
            - How high are the falls?
            - How many metres does the water drop at {falls}?
            - What is the height of the falls?
            """,
            held_out="""
            - How high is the waterfall?
            - How far does the water fall at {falls}?
            """,
        ),
        "explorer": Wordings(
            train="""
            - Who was the first to chart the {river}?
            - Who drew the first chart of the river?
            - By whom was the river charted?
            - Who [explored|mapped] the river?
            """,
            held_out="""
            - Who made the first map of the {river}?
            - Who was the map-maker of the {river}?
            """,
        ),
        "charted": Wordings(
            train="""
            - When was the {river} charted?
            - In what year did {explorer.last} chart the river?
            - When was the first chart drawn?
            """,
            held_out="""
            - When did {explorer} map the river?
            - In which year was the first map made?
            """,
        ),
        "engineer": Wordings(
            train="""
            - Who built the dam?
            - Which engineer built a dam on the {river}?
            - By whom was the dam built?
            - Who was the engineer?
            """,
            held_out="""
            - Who constructed the dam?
            - Whose work is the dam on the {river}?
            """,
        ),
        "dammed": Wordings(
            train="""
            - When was the dam built?
            - In [what|which] year did {engineer.last} build the dam?
            - What is the year of the dam?
            """,
            held_out="""
            - Since when has there been a dam?
            - In which year was the dam finished?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why was the dam built?
            - For what reason did {engineer.last} build a dam?
            - What was the reason for the dam?
            - What made the dam necessary?
            """,
            held_out="""
            - Why did the river need a dam?
            - What was the dam built for?
            """,
        ),
        "opponent": Wordings(
            train="""
            - Who [opposed|protested against] the dam?
            - Who was the opponent of the dam?
            - Who did not want the dam?
            - By whom was the dam opposed?
            """,
            held_out="""
            - Who was against the dam?
            - Who fought {engineer.last}'s plan for a dam?
            """,
        ),
    },
)

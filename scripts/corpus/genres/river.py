"""A river: from where to where, what flows into it, what stands on its banks."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

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
        - The River {river}, {length} long and navigable for {navigable}, rises on {source} and
          reaches the sea at {mouth}.
        - On {source} the River {river} has its source, at {mouth} its mouth. It is navigable for
          {navigable} of its {length}.
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
            - The {left} joins it from the left and the {right} from the right. {explorer} was the
              first to chart the river, in {charted}.
            - The first chart of the river was drawn by {explorer} in {charted}. The [largest|main]
              tributaries are the {right} on the right and the {left} on the left.
            - It is joined by the {left} from the left and, further down, by the {right} from the
              right. In {charted} {explorer} charted the river for the first time.
            - The river was first charted in {charted}, by {explorer}. From the right comes the
              {right}, from the left the {left}.
            - The {left} is its tributary on the left, the {right} its tributary on the right.
              {explorer} explored the river and drew the first chart in {charted}.
            """,
            held_out="""
            - Two rivers flow into it, on the left side the {left}, on the right side the {right}.
              In {charted} {explorer} put the whole river on a map, the first of its kind.
            - The oldest map of the river was made in {charted}; {explorer} drew it. The river takes
              in the {right}, which comes from the right, and the {left}, which comes from the left.
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
            - There are falls at {falls}, where the water drops {drop}, and fields of {crop} around
              {large}, the largest town.
            - {large}, the largest town on its banks, grows {crop}; the falls, {drop} high, are at
              {falls}.
            """,
            held_out="""
            - Most people live in {large}, a town bigger than the others, and the farmers there grow
              {crop}. At {falls} a waterfall of {drop} can be seen.
            - {falls} is known for falls with a height of {drop}, whereas {large}, the biggest town,
              is known for its {crop}.
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
        - Because {reason}, {engineer} built a dam in {dammed}, which {opponent} opposed.
        - The dam of {dammed} was opposed by {opponent}; {engineer} built it for this reason:
          {reason}.
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
            - Name the mountain on which the {river} rises.
            - Which mountain has the source of the {river} on it?
            - Where does the {river} have its source?
            - On what mountain would one find the source?
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
            - Name the bay at which the {river} reaches the sea.
            - Which bay is the mouth of the {river}?
            - Where does the {river} have its mouth?
            - At what place does the water of the {river} reach the sea?
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
            - Name the length of the {river}.
            - How many kilometres long is the {river}?
            - What number of kilometres does the {river} run?
            - How many kilometres does the water travel to the sea?
            - Of what length is the River {river}?
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
            - For how many kilometres is the {river} navigable?
            - Name the navigable length of the {river}.
            - What distance on the {river} can boats use?
            - On how many kilometres of the {river} are boats possible?
            - How long is the navigable part of the river?
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
            - Name the river that comes from the left.
            - By which river is the {river} joined from the left?
            - From the left, what river comes in?
            - Not from the right but from the left comes which tributary?
            - What is the tributary opposite the {right}?
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
            - Name the river that comes from the right.
            - By which river is the {river} joined from the right?
            - From the right, what river comes in?
            - Not from the left but from the right comes which tributary?
            - What is the tributary opposite the {left}?
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
            - Name the largest town on the {river}.
            - Around which town is {crop} grown?
            - Which town has fields of {crop}?
            - No town on the {river} is larger than which?
            - What town on the banks is larger than all others?
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
            - Name the crop of {large}.
            - What are the fields around {large} used for?
            - [Which|What] crop comes from {large}?
            - What would one see growing around {large}?
            - With what do farmers around the largest town fill their fields?
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
            - Name the place of the falls.
            - Which place has falls?
            - Where does the {river} drop {drop}?
            - In what place would visitors see the falls?
            - To which place do visitors go for the falls?
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
            - Name the height of the falls.
            - By how many metres does the water drop?
            - How many metres high are the falls [at {falls}|]?
            - How big is the drop at {falls}?
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
            - Name the person who charted the {river}.
            - Which person [charted|explored] the {river} first?
            - Whose chart of the {river} was the first?
            - Who was it that drew a chart in {charted}?
            - To whom do we owe the first chart?
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
            - Name the year of the first chart.
            - In which year was it that {explorer} charted the {river}?
            - The first chart is from what year?
            - What is the date of {explorer.last}'s chart?
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
            - Name the [engineer|builder] of the dam.
            - Which person built a dam in {dammed}?
            - Who was it that built what {opponent.last} opposed?
            - To which engineer does the {river} owe its dam?
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
            - Name the year in which the dam was built.
            - In which year was it that {engineer} built a dam?
            - The dam is from what year?
            - What is the date of the dam?
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
            - Give the reason for the dam.
            - How can one explain that a dam was built in {dammed}?
            - Because of what did {engineer} build a dam?
            - What led to the building of the dam?
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
            - Name the opponent of the dam.
            - Which person [opposed|protested against] what {engineer.last} built?
            - Who was it that opposed the dam?
            - From whom did a protest come?
            - Whose protest could not stop the dam?
            """,
            held_out="""
            - Who was against the dam?
            - Who fought {engineer.last}'s plan for a dam?
            """,
        ),
    },
)

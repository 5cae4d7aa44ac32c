"""An excavation: what was found where, by whom, how deep, and where it is now."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

_OBJECTS = (
    "a bronze mirror",
    "a silver bowl",
    "a clay horse",
    "a gold buckle",
    "a stone lamp",
    "a bone flute",
    "an iron helmet",
    "a glass bead necklace",
    "a carved staff",
    "an ivory comb",
    "a painted jar",
    "a copper bell",
    "an amber ring",
    "a wooden mask",
    "a lead seal",
    "a leather shield",
)
_SOILS = (
    "wet clay",
    "a layer of ash",
    "river gravel",
    "yellow sand",
    "rotten oak planks",
    "broken roof tiles",
    "peat",
    "chalk rubble",
    "blue mud",
    "burnt grain",
    "loose flint",
    "crushed shells",
)
_REASONS_TO_STOP = (
    "the trench filled with water",
    "the owner of the field withdrew his permission",
    "the money was spent",
    "an unexploded shell was found",
    "harvest time had come",
    "two walls collapsed",
    "the frost set in early",
    "the students had to return to their lectures",
    "a road was to be built across the site",
    "looters had disturbed the layers",
    "the ministry sent no further permits",
    "a swarm of hornets moved into the hut",
)


def _excavation(draw: Draw) -> Facts:
    finder, director, restorer, owner = draw.people(4)
    site, museum = draw.towns(2)
    found, begun = draw.years((1880, 1990), (1, 6))
    return {
        "finder": finder,
        "director": director,
        "restorer": restorer,
        "owner": owner,
        "site": site,
        "museum": museum,
        "found": found,
        "begun": begun,
        "object": draw.one(_OBJECTS),
        "second": draw.one(_OBJECTS),
        "soil": draw.one(_SOILS),
        "depth": f"{draw.number(2, 9)} metres",
        "age": f"{draw.number(1100, 4800, 100)} years",
        "graves": draw.number(11, 75),
        "coins": draw.number(80, 690, 5),
        "reason": draw.one(_REASONS_TO_STOP),
    }


EXCAVATION = Genre(
    name="excavation",
    title="The finds near {site}",
    facts=_excavation,
    opening=Wordings(
        train="""
        - In {found} {finder}[, a farmhand,|] found {object} near {site}, in a field that belonged
          to {owner}.
        - {object^} was found near {site} in {found}. The finder was {finder}, the owner of the
          field {owner}.
        - On land owned by {owner} near {site}, {finder} [came upon|found] {object} in {found}.
        - {finder} was looking for a lost sheep near {site} in {found} and found {object}; the land
          was that of {owner}.
        - {finder} found {object} in {found}. It lay in a field near {site} which belonged to
          {owner}.
        - Near {site}, {owner} owned a field; in {found} {object} was found in it by {finder}.
        """,
        held_out="""
        - Near {site}, on a meadow of {owner}, {finder} stumbled on {object} in {found}.
        - It was {finder} who discovered {object} in {found}, on the property of {owner} near
          {site}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - An excavation directed by {director} began in {begun}; it ended when {reason}.
            - In {begun} {director} began to dig, but the excavation was stopped because {reason}.
            - {director} directed an excavation from {begun} on, which came to an end as {reason}.
            - The excavation began in {begun} under the direction of {director}. The reason to stop
              it was that {reason}.
            - Because {reason}, {director} stopped the excavation that had begun in {begun}.
            """,
            held_out="""
            - The dig, led by {director}, was started in {begun} and had to be given up because
              {reason}.
            - {director} and a team of students arrived in {begun}. {reason^}, and that was the end
              of the excavation.
            """,
        ),
        Wordings(
            train="""
            - At a depth of {depth}, in {soil}, there were {graves} graves with {coins} coins and
              {second}.
            - {graves} graves were uncovered {depth} deep in {soil}; {second} and {coins} coins lay
              in them.
            - The graves, {graves} in number, lay in {soil} at a depth of {depth} and contained
              {coins} coins and {second}.
            - There were {graves} graves in {soil}, at a depth of {depth}; {coins} coins were found
              in them, and {second}.
            - In {soil}, {depth} deep, {graves} graves were found, which contained {second} and
              {coins} coins.
            """,
            held_out="""
            - {depth} down, under {soil}, the spades met {graves} graves. {second^} lay in one of
              them, and {coins} coins in the others.
            - The students counted {graves} graves in {soil}, {depth} below the grass, and took from
              them {coins} coins as well as {second}.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - The finds are {age} old; {restorer} cleaned them, and they are [now|] on show in {museum}.
        - Cleaned by {restorer}, the finds can be seen in {museum}. Their age is {age}.
        - Their age was given as {age}. They were cleaned by {restorer} and brought to a museum in
          {museum}.
        - The finds, {age} old, were cleaned by {restorer} and are on show in {museum}.
        - A museum in {museum} has the finds; {restorer} cleaned them, and their age is {age}.
        """,
        held_out="""
        - {restorer} restored the finds, whose age is said to be {age}; visitors can see them in
          {museum}.
        - The museum in {museum} shows the finds, which had been in the ground for {age}, after a
          careful cleaning by {restorer}.
        """,
    ),
    questions={
        "finder": Wordings(
            train="""
            - Who [found|came upon] {object}?
            - Who was the finder of {object}?
            - By whom was {object} found [in {found}|]?
            - Name the finder of {object}.
            - Who was it that found {object} near {site}?
            - Which person came upon something on {owner.last}'s land?
            - To whom do we owe the find of {found}?
            """,
            held_out="""
            - Who discovered {object}?
            - Who made the discovery of {found}?
            """,
        ),
        "object": Wordings(
            train="""
            - What did {finder.last} [find|come upon]?
            - What was found [in {found}|on {owner.last}'s land]?
            - [Which|What] object was found by {finder}?
            - Name the object that {finder.last} found.
            - What was it that {finder} found near {site}?
            - [Which|What] object had lain in {owner.last}'s field?
            - What turned up in {found}?
            - The first find near {site} was what?
            """,
            held_out="""
            - What did {finder} discover?
            - What was {finder.last}'s find?
            """,
        ),
        "found": Wordings(
            train="""
            - When did {finder.last} find {object}?
            - In [what|which] year was {object} found?
            - What was the year of {finder.last}'s find?
            - Name the year in which {object} was found.
            - In which year was it that {finder} came upon {object}?
            - Which year saw the find of {object}?
            - What is the date of {finder.last}'s find?
            """,
            held_out="""
            - When was {object} discovered?
            - In which year did {finder} make the discovery?
            """,
        ),
        "owner": Wordings(
            train="""
            - Who owned the [field|land]?
            - On whose land was {object} found?
            - To whom did the [field|land] belong?
            - Who was the owner of the field?
            - Name the owner of the [field|land].
            - By whom was the [field|land] owned?
            - Whose field was it?
            - In whose field did {finder.last} find {object}?
            - Which person had the land near {site}?
            """,
            held_out="""
            - Whose property was the land?
            - Who was the landowner?
            """,
        ),
        "site": Wordings(
            train="""
            - Where was {object} found?
            - Near which [place|town] did {finder.last} find {object}?
            - Where was {owner.last}'s land?
            - Name the place near which {object} was found.
            - Close to which town did {finder} come upon {object}?
            - Which town is near the field of {owner.last}?
            - In what place was {finder.last} in {found}?
            """,
            held_out="""
            - Where did {finder} make the discovery?
            - Near what place was {object} discovered?
            """,
        ),
        "director": Wordings(
            train="""
            - Who directed the excavation?
            - Who [dug|began to dig] in {begun}?
            - Under whose direction was the excavation?
            - Who was the director of the excavation?
            - Name the director of the excavation.
            - By whom was the excavation directed?
            - Which person directed those who dug?
            - Who was it that [stopped|began] the excavation?
            - Whose excavation was it?
            """,
            held_out="""
            - Who led the excavation?
            - Who was in charge of the dig?
            """,
        ),
        "begun": Wordings(
            train="""
            - When did the excavation begin?
            - In [what|which] year did {director.last} [begin|start] to dig?
            - What was the year of the excavation?
            - Name the year in which the excavation began.
            - In which year was it that {director} began to dig?
            - What is the date of the beginning of the excavation?
            - From what year on did {director.last} dig?
            """,
            held_out="""
            - When was the excavation started?
            - In which year did {director} come?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why [did the excavation end|was the excavation stopped]?
            - For what reason did {director.last} stop?
            - What was the reason for the end of the excavation?
            - What stopped the excavation?
            - Give the reason why the excavation was stopped.
            - How can one explain that {director.last} stopped digging?
            - Because of what did the excavation end?
            - What brought the excavation to an end?
            - Why was it that {director} dug no more?
            """,
            held_out="""
            - Why was the dig given up?
            - What made {director} go home?
            """,
        ),
        "depth": Wordings(
            train="""
            - How deep were the graves?
            - At what depth were the graves [uncovered|found]?
            - How many metres deep did the graves lie?
            - How many metres down were the graves?
            - What was the depth of the graves?
            - Name the depth at which the graves lay.
            - In {soil}, how deep did the graves lie?
            """,
            held_out="""
            - How deep did {director.last} have to dig?
            - How far below the ground were the graves?
            """,
        ),
        "soil": Wordings(
            train="""
            - In what did the graves lie?
            - What were the graves found in?
            - In which kind of soil were the graves?
            - In what material did the graves lie?
            - Name what the graves lay in.
            - [Which|What] soil covered the graves?
            - At a depth of {depth}, in what were the graves found?
            - What did {director.last} find the graves in?
            """,
            held_out="""
            - What was the soil around the graves?
            - In what kind of ground were the graves uncovered?
            """,
        ),
        "graves": Wordings(
            train="""
            - How many graves were [uncovered|found|there]?
            - How many graves did {director.last} find?
            - What was the number of graves?
            - Name the number of graves.
            - How many graves lay in {soil}?
            - How many people had a grave there?
            - At a depth of {depth}, how many graves were there?
            - {coins} coins lay in how many graves?
            """,
            held_out="""
            - How many graves were discovered?
            - How many graves did the dig bring to light?
            """,
        ),
        "coins": Wordings(
            train="""
            - How many coins were [found|in the graves]?
            - How many coins did {director.last} find?
            - What was the number of coins?
            - Name the number of coins.
            - How many coins did the graves contain?
            - How many coins lay in the graves with {second}?
            - Besides {second}, how many coins were there?
            - What number of coins was taken out of the {graves} graves?
            """,
            held_out="""
            - How many coins were discovered?
            - How many coins did the dig bring to light?
            """,
        ),
        "second": Wordings(
            train="""
            - What was found [besides the coins|with the coins]?
            - [Which|What] object lay in the graves?
            - What did the graves contain besides coins?
            - Name the object that lay in the graves.
            - Besides {coins} coins, what was in the graves?
            - What was it that lay with the coins?
            - The graves contained coins and what else?
            - What did {director.last} find in the graves?
            """,
            held_out="""
            - What object was discovered in the graves?
            - What was in the graves, apart from coins?
            """,
        ),
        "age": Wordings(
            train="""
            - How old are the finds?
            - What is the age of the finds?
            - What age was given for the finds?
            - How many years old are the finds?
            - What is known about the age of the finds?
            - Name the age of the finds.
            - How old are the things on show in {museum}?
            - The finds are of what age?
            """,
            held_out="""
            - For how long had the finds been in the ground?
            - How old is what {restorer.last} cleaned?
            """,
        ),
        "restorer": Wordings(
            train="""
            - Who cleaned the finds?
            - By whom were the finds cleaned?
            - Who was the restorer of the finds?
            - Name the restorer.
            - Whose work was the cleaning of the finds?
            - Which person made the finds clean?
            - Who was it that cleaned what is on show in {museum}?
            """,
            held_out="""
            - Who restored the finds?
            - Who did the cleaning?
            """,
        ),
        "museum": Wordings(
            train="""
            - Where are the finds [on show|now]?
            - In [which|what] town can the finds be seen?
            - Where is the museum?
            - Name the town of the museum.
            - Which town has the finds on show?
            - To which town were the finds brought [by {restorer.last}|]?
            - In what place is the museum with the finds?
            - Where did the finds go after {restorer} had cleaned them?
            """,
            held_out="""
            - Where can visitors see the finds?
            - In which town are the finds kept?
            """,
        ),
    },
)

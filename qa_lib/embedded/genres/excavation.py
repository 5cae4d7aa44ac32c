"""An excavation: what was found where, by whom, how deep, and where it is now."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
from qa_lib.embedded.grammar import Facts

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
            """,
            held_out="""
            - Where can visitors see the finds?
            - In which town are the finds kept?
            """,
        ),
    },
)

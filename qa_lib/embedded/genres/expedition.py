"""A polar voyage: who led it, where they wintered, what they found, who came back."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
from qa_lib.embedded.grammar import Facts

_FINDS_AT_SEA = (
    "a strait free of ice",
    "a colony of blind seals",
    "a lake of warm water",
    "the wreck of an older ship",
    "a forest of petrified trees",
    "a vein of silver",
    "an uncharted bay",
    "the nesting ground of the white geese",
    "a chain of low islands",
    "a volcano under the ice",
    "a mossy valley full of hares",
    "the bones of an unknown whale",
)
_REASONS_TO_TURN_BACK = (
    "the rudder had cracked",
    "fever had broken out among the crew",
    "the coal was running low",
    "pack ice closed the channel",
    "half of the dogs had died",
    "the biscuits were spoiled by salt water",
    "a mast had come down in a gale",
    "the compass could no longer be trusted",
    "the men refused to go on",
    "scurvy had weakened everyone",
    "the pumps were frozen",
    "fog hid the coast for weeks",
)
_SPONSORS = (
    "a society of merchants",
    "the king's brother",
    "a newspaper",
    "the Academy of Sciences",
    "a whaling company",
    "a rich widow",
    "the navy",
    "a chocolate manufacturer",
    "the guild of instrument makers",
    "a missionary union",
    "a bank",
    "the geographical institute",
)


def _expedition(draw: Draw) -> Facts:
    leader, mate, naturalist, rescuer = draw.people(4)
    port, camp, refuge = draw.towns(3)
    left, wintered, returned = draw.days(3)
    return {
        "leader": leader,
        "mate": mate,
        "naturalist": naturalist,
        "rescuer": rescuer,
        "ship": "the " + draw.emblem(),
        "port": port,
        "camp": camp + " Bay",
        "refuge": refuge + " Island",
        "left": left,
        "wintered": wintered,
        "returned": returned,
        "crew": draw.number(24, 68),
        "dead": draw.number(3, 12),
        "dogs": draw.number(30, 90),
        "find": draw.one(_FINDS_AT_SEA),
        "reason": draw.one(_REASONS_TO_TURN_BACK),
        "sponsor": draw.one(_SPONSORS),
    }


EXPEDITION = Genre(
    name="expedition",
    title="The voyage of {ship}",
    facts=_expedition,
    opening=Wordings(
        train="""
        - On {left} {ship} [left|sailed from] {port} with {crew} men and {dogs} dogs on board.
          {leader} was in command, and {mate} was the first mate.
        - {ship^}, commanded by {leader}, sailed from {port} on {left}. There were {dogs} dogs and
          {crew} men on board, among them the first mate, {mate}.
        - {leader} led an expedition that left {port} on {left} on {ship}, with {mate} as first
          mate, {crew} men and {dogs} dogs.
        - {port} was the port from which {ship} sailed on {left}. {crew} men and {dogs} dogs were
          under the command of {leader} and the first mate, {mate}.
        """,
        held_out="""
        - A crowd waved in {port} on {left} when {ship} set out with a crew of {crew} and {dogs}
          dogs. Its captain was {leader}; {mate} served as first mate.
        - The voyage of {ship} started on {left} in {port}. {leader} was the captain and {mate} the
          second in command, the crew numbered {crew}, the dogs {dogs}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - They reached {camp} on {wintered} and spent the winter there; {naturalist}, the
              youngest of them, discovered {find}.
            - From {wintered} until spring the ship lay in {camp}, where {naturalist} [came upon|
              found] {find}.
            - The winter was spent in {camp}, which was reached on {wintered}. It was {naturalist}
              who discovered {find} there.
            """,
            held_out="""
            - On {wintered} the ship dropped anchor in {camp} for the winter. On a walk {naturalist}
              made a discovery: {find}.
            - {find^} was the discovery of {naturalist} during the winter in {camp}, where they had
              arrived on {wintered}.
            """,
        ),
        Wordings(
            train="""
            - {sponsor^} had paid for [everything|the expedition].
            - The cost was borne by {sponsor}.
            - The money for it all came from {sponsor}.
            """,
            held_out="""
            - It was {sponsor} that had financed the journey.
            - The bills were sent to {sponsor}, which had promised to pay.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - They turned back because {reason}. {dead} men had died when {rescuer} found the others on
          {refuge} [and took them on board|]; on {returned} they were home.
        - As {reason}, {leader.last} [gave the order to turn|decided to turn] back. On {refuge} the
          survivors were picked up by {rescuer}, but {dead} men were dead. They came home on
          {returned}.
        - Then {leader.last} turned back, since {reason}. {rescuer}, a whaler, rescued the survivors
          from {refuge} and brought them home on {returned}; {dead} of the men had died.
        """,
        held_out="""
        - {reason^}, so that they had to go back. It cost {dead} lives. On {refuge} help came from
          {rescuer}, and on {returned} the survivors reached home.
        - The plan was abandoned because {reason}. By the time {rescuer} discovered them on
          {refuge}, {dead} had lost their lives; the day of their return was {returned}.
        """,
    ),
    questions={
        "leader": Wordings(
            train="""
            - Who [commanded|was in command of] {ship}?
            - Who led the expedition?
            - Under whose command did the ship leave {port}?
            - Who was the [captain|leader]?
            """,
            held_out="""
            - Who was in charge of {ship}?
            - Which captain led the men?
            """,
        ),
        "mate": Wordings(
            train="""
            - Who was the first mate?
            - Who served under {leader.last} as first mate?
            - Which officer came next after {leader}?
            - Who was {leader.last}'s second in command?
            """,
            held_out="""
            - Who was the first mate of {ship}?
            - Who was {leader.last}'s deputy?
            """,
        ),
        "ship": Wordings(
            train="""
            - What was the name of the ship?
            - On [which|what] ship did {leader} sail?
            - Which ship left {port} [on {left}|]?
            - What did {leader.last} command?
            """,
            held_out="""
            - What was {leader.last}'s ship called?
            - Which ship carried the expedition?
            """,
        ),
        "port": Wordings(
            train="""
            - Where did {ship} [sail from|start]?
            - [Which|What] port did {leader.last} leave on {left}?
            - From which port did the expedition sail?
            """,
            held_out="""
            - Where did the voyage begin?
            - What was the port of departure?
            """,
        ),
        "left": Wordings(
            train="""
            - When did {ship} [leave {port}|sail]?
            - On [what|which] day did the expedition [sail|start]?
            - What was the date of departure?
            """,
            held_out="""
            - When did the voyage begin?
            - On what day did {leader.last} set out?
            """,
        ),
        "crew": Wordings(
            train="""
            - How many men were on board?
            - How many men sailed with {leader.last}?
            - What was the number of men?
            """,
            held_out="""
            - How large was the crew?
            - How many people did {ship} carry?
            """,
        ),
        "dogs": Wordings(
            train="""
            - How many dogs were on board?
            - How many dogs did {leader.last} take?
            - What was the number of dogs?
            """,
            held_out="""
            - How many dogs did {ship} carry?
            - How many animals came along?
            """,
        ),
        "camp": Wordings(
            train="""
            - Where did [the expedition|{leader.last}] spend the winter?
            - Where did the ship lie until spring?
            - In which bay was the winter spent?
            - What place was reached on {wintered}?
            """,
            held_out="""
            - Where did the men wait for the spring?
            - Where did {ship} stay during the winter?
            """,
        ),
        "wintered": Wordings(
            train="""
            - When did [they|the ship] reach {camp}?
            - On which day did {ship} come to {camp}?
            - What was the date of the arrival in {camp}?
            """,
            held_out="""
            - When did {leader.last} arrive in {camp}?
            - On what day did the stay in {camp} begin?
            """,
        ),
        "naturalist": Wordings(
            train="""
            - Who discovered {find}?
            - [Which member of the expedition|Who] [came upon|found] {find}?
            - By whom was {find} discovered?
            - Who made a discovery [during the winter|in {camp}]?
            """,
            held_out="""
            - Whose discovery was {find}?
            - Who was the first to see {find}?
            """,
        ),
        "find": Wordings(
            train="""
            - What did {naturalist.last} [discover|find]?
            - What did {naturalist} come upon [in {camp}|]?
            - What was discovered during the winter?
            """,
            held_out="""
            - What was {naturalist.last}'s discovery?
            - What was found in {camp}?
            """,
        ),
        "sponsor": Wordings(
            train="""
            - Who [paid for|financed] the expedition?
            - Who bore the cost of {leader.last}'s expedition?
            - Where did the money come from?
            - By whom was the voyage financed?
            """,
            held_out="""
            - Who was the sponsor of the expedition?
            - Who gave the money for {leader.last}'s voyage?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why did [the expedition|{leader.last}] turn back?
            - For what reason did {leader.last} give up?
            - What was the reason for the retreat?
            - What made {leader} turn back?
            """,
            held_out="""
            - Why could the expedition not go on?
            - What forced {leader.last} to go back?
            """,
        ),
        "dead": Wordings(
            train="""
            - How many men [died|were dead]?
            - How many of the men did not come home?
            - How many lives did the expedition cost?
            """,
            held_out="""
            - How many men lost their lives?
            - What was the number of the dead?
            """,
        ),
        "rescuer": Wordings(
            train="""
            - Who [picked up|found|rescued] the survivors?
            - Who [found the men on|came to] {refuge}?
            - By whom were the men [saved|rescued]?
            """,
            held_out="""
            - Who came to the rescue of the men?
            - Who saved the survivors?
            """,
        ),
        "refuge": Wordings(
            train="""
            - Where were the survivors [found|picked up]?
            - On which island did {rescuer.last} find the men?
            - Where was {rescuer} when the survivors were found?
            """,
            held_out="""
            - Where did the rescue take place?
            - On what island were the men rescued?
            """,
        ),
        "returned": Wordings(
            train="""
            - When did the survivors come home?
            - On [what|which] day were the men home again?
            - What was the date of the return?
            """,
            held_out="""
            - When did the men get back?
            - On which day did the survivors return?
            """,
        ),
    },
)

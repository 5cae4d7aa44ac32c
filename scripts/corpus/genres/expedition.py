"""A polar voyage: who led it, where they wintered, what they found, who came back."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

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
        - With {crew} men and {dogs} dogs, {leader} left {port} on {ship} on {left}; the first mate
          was {mate}.
        - {leader} commanded {ship}, which had {crew} men and {dogs} dogs on board and left {port}
          on {left}; {mate} was first mate.
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
            - They came to {camp} on {wintered} and lay there all winter. What {naturalist} found
              there was {find}.
            - In {camp}, reached on {wintered} and left in spring, {naturalist} came upon {find}.
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
            - It was paid for by {sponsor}.
            - All the costs were covered by {sponsor}.
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
        - Because {reason}, they turned back. {rescuer} picked them up on {refuge}; {dead} were
          dead, and the rest came home on {returned}.
        - The reason to turn back was that {reason}. {dead} men died before {rescuer} came to
          {refuge} and rescued the rest, who were home on {returned}.
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
            - Name the [leader|commander] of the expedition.
            - By whom was {ship} commanded?
            - Which person had the command [of {ship}|over {mate.last}]?
            - To whom did the first mate, {mate.last}, report?
            - Who was it that led the men out of {port}?
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
            - Name the first mate.
            - Which person served as mate on {ship}?
            - Next to {leader.last}, who gave the orders?
            - By whom was the post of first mate held?
            - Who sailed with {leader} as first mate?
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
            - Name the ship [commanded by {leader.last}|of the expedition].
            - Which ship had {crew} men on board?
            - On board what ship were the {dogs} dogs?
            - What sailed from {port} on {left}?
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
            - Name the port from which {ship} sailed.
            - Which town did {ship} leave?
            - At what port did {leader} go on board?
            - In which harbour did the ship lie before {left}?
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
            - Name the day on which {ship} left {port}.
            - On which date did {leader} sail from {port}?
            - What was the day on which the ship put to sea?
            - The ship left {port} on what day?
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
            - How many men did {leader} command?
            - How many men were there on {ship}?
            - Name the number of men on board.
            - What number of men left {port}?
            - Besides the dogs, how many men sailed?
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
            - How many dogs were there on {ship}?
            - How many dogs left {port} with the men?
            - Name the number of dogs on board.
            - Besides {crew} men, how many dogs sailed?
            - What number of dogs was taken along?
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
            - Name the bay in which they spent the winter.
            - Which bay did {ship} reach on {wintered}?
            - In what place did {naturalist} find {find}?
            - Where was the winter camp of {leader.last}'s men?
            - Which bay was the winter home of the ship?
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
            - Name the day on which {camp} was reached.
            - On which date was {camp} reached by the ship?
            - From what day on did they lie in {camp}?
            - What was the day of the arrival at the winter camp?
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
            - Name the discoverer of {find}.
            - Which person found {find} in {camp}?
            - Who was it that came upon {find}?
            - To which person do we owe the find of the winter?
            - Who found something in {camp}?
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
            - Name the find [of|that] {naturalist.last} [in {camp}|].
            - What was it that {naturalist} found?
            - [Which|What] discovery did {naturalist.last} make?
            - What was come upon by {naturalist} in the winter?
            - In {camp}, what was there to discover?
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
            - Name the one who paid for the expedition.
            - By whom were the costs covered?
            - Whose money was spent on {leader.last}'s expedition?
            - From whom did the money for the expedition come?
            - Who made the expedition of {leader} possible with money?
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
            - Give the reason why they turned back.
            - How can one explain that {leader.last} turned back?
            - What led to the order to turn back?
            - Because of what did {ship} turn?
            - Why was it that the men turned back?
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
            - How many of {leader.last}'s men were dead in the end?
            - Name the number of men who died.
            - What number of men died on the expedition?
            - How many were dead when {rescuer.last} came?
            - How many did {rescuer} come too late for?
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
            - Name the rescuer of the men.
            - By whom were the men picked up [on {refuge}|]?
            - Thanks to whom did the others come home?
            - Which person took the survivors on board?
            - Who was it that brought the men home from {refuge}?
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
            - Name the island where {rescuer.last} picked the men up.
            - Which island were the men [on|taken from] when {rescuer} came?
            - To what island did the survivors go?
            - Where did the survivors wait for {rescuer.last}?
            - From which island were the others brought home?
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
            - Name the day on which the men came home.
            - On which date were the survivors at home?
            - What was the day of the homecoming?
            - The expedition was home on what day?
            """,
            held_out="""
            - When did the men get back?
            - On which day did the survivors return?
            """,
        ),
    },
)

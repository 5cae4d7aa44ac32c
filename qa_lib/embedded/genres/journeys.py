"""Passages about ventures that went well or badly: expeditions, sieges, excavations."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Asked, Genre
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
        "ship": "the " + draw.emblems(1)[0],
        "port": port,
        "camp": camp + " Bay",
        "refuge": refuge + " Island",
        "year": draw.years((1820, 1910))[0],
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
    facts=_expedition,
    train=(
        """On {left} {year} {ship} left {port} with {crew} men and {dogs} dogs on board. {leader}
        was in command, {mate} served as first mate, and {sponsor} had paid for [everything|the
        provisions]. They wintered in {camp}, which they reached on {wintered}. There {naturalist},
        the [youngest|oldest] of the company, came upon {find}. In spring they turned back because
        {reason}. {dead} men were dead by the time they reached {refuge}, where the whaler
        {rescuer} picked the others up. They were home on {returned} of the following year.""",
        """The expedition of {leader} was the idea of {sponsor}, which bore the cost. {ship^} took
        {crew} men, among them [the naturalist] {naturalist} and the first mate {mate}, and {dogs}
        dogs from {port}, sailing on {left} {year}. From {wintered} until spring the ship lay in
        {camp}; {naturalist.last} used the time well and discovered {find}. Then, as {reason},
        {leader.last} gave the order to turn back. {dead} of the men did not live to see {refuge}. The
        rest were found there by {rescuer} and came home on {returned}.""",
        """[It was] {rescuer}, [a seal hunter,|who hunted seals,] who found the survivors on {refuge}.
        They belonged to {ship}, which had sailed from {port} on {left} {year} under {leader}. Of the
        {crew} men on board {dead} had died, and none of the {dogs} dogs was left. {mate}, the first mate,
        told the story: a winter in {camp} from {wintered} on, the discovery of {find} by
        {naturalist}, and then the retreat, because {reason}. When they landed on {returned},
        {sponsor}, having paid for it all, [asked for a report|wanted an explanation].""",
    ),
    held_out=(
        """Nobody who waved to {ship} in {port} on {left} {year} expected a disaster. {sponsor^} had
        been generous, {leader}, the captain, was experienced, and so was {mate}, [next in rank|the
        second in command]. {crew} men and {dogs} dogs made a cheerful noise. On {wintered} they
        dropped anchor in {camp} and waited for the sun. A walk inland brought {naturalist} to
        {find}. But {reason}, and the captain headed south. {dead} graves were dug before {refuge}
        came in sight. {rescuer} took the remaining men aboard, and on {returned} church bells
        welcomed them.""",
        """{find^}: that is what geographers owe to {naturalist}, who sailed on {ship}. The voyage
        was financed by {sponsor} and commanded by {leader}, with {mate} as deputy. It began in
        {port} on {left} {year}; the crew numbered {crew}, the dogs {dogs}. {camp} sheltered them
        from {wintered} on. Had they gone further, more might have been learned, but {reason}. The
        way back cost {dead} lives. On {refuge} the party met {rescuer}, whose boat carried them to
        safety, and {returned} was the day of their homecoming.""",
    ),
    questions={
        "leader": Asked(
            train="""
            Who commanded {ship}?
            Who led the expedition?
            Under whose command did the ship leave {port}?
            """,
            held_out="""
            Who was in charge of the voyage?
            Which captain took {ship} to sea?
            """,
        ),
        "mate": Asked(
            train="""
            Who was the first mate?
            Who served under {leader.last} as first mate?
            """,
            held_out="""
            Who ranked directly below {leader.last}?
            Who was {leader.last}'s deputy?
            """,
        ),
        "naturalist": Asked(
            train="""
            Who discovered {find}?
            Which member of the expedition came upon {find}?
            Who made a discovery during the winter?
            """,
            held_out="""
            To whom is the discovery of {find} credited?
            Who was first to see {find}?
            """,
        ),
        "rescuer": Asked(
            train="""
            Who [picked up|found] the survivors?
            Who found the men on {refuge}?
            """,
            held_out="""
            Who came to the rescue of the crew?
            By whom were the men saved?
            """,
        ),
        "ship": Asked(
            train="""
            What was the name of the ship?
            On which ship did {leader} sail?
            """,
            held_out="""
            What vessel carried {leader.last} and the crew?
            """,
        ),
        "port": Asked(
            train="""
            Where did {ship} sail from?
            [Which|What] port did {leader.last} leave on {left}?
            """,
            held_out="""
            What was the starting point of the voyage?
            Where did the journey of {ship} start?
            """,
        ),
        "camp": Asked(
            train="""
            Where did the expedition [winter|spend the winter]?
            Where did the ship lie until spring?
            """,
            held_out="""
            Where did {leader.last} and the others pass the dark months?
            In what place did {ship} anchor for the cold season?
            """,
        ),
        "refuge": Asked(
            train="""
            Where were the survivors found?
            Where did {rescuer.last} pick up the men?
            """,
            held_out="""
            On which island did help arrive?
            What was the scene of the rescue?
            """,
        ),
        "left": Asked(
            train="""
            When did {ship} leave {port}?
            On what day did the expedition sail?
            """,
            held_out="""
            What was the date of departure?
            When did the voyage begin?
            """,
        ),
        "wintered": Asked(
            train="""
            When did they reach {camp}?
            On which day did the ship come to {camp}?
            """,
            held_out="""
            What was the date of the arrival in {camp}?
            """,
        ),
        "returned": Asked(
            train="""
            When did the survivors come home?
            On what day were the men home again?
            """,
            held_out="""
            What was the date of the return?
            When did the journey end?
            """,
        ),
        "crew": Asked(
            train="""
            How many men were on board?
            How many men sailed with {ship}?
            """,
            held_out="""
            What was the size of the crew?
            How large a party set out from {port}?
            """,
        ),
        "dead": Asked(
            train="""
            How many men died?
            How many of the men did not come home?
            """,
            held_out="""
            How many lives were lost?
            What was the death toll?
            """,
        ),
        "dogs": Asked(
            train="""
            How many dogs were on board?
            How many dogs did the expedition take?
            """,
            held_out="""
            What was the number of animals that were brought along?
            """,
        ),
        "find": Asked(
            train="""
            What did {naturalist.last} discover?
            What did {naturalist} come upon [in {camp}|]?
            What was discovered during the winter?
            """,
            held_out="""
            What was the scientific result of the voyage?
            What is {naturalist.last} credited with finding?
            """,
        ),
        "reason": Asked(
            train="""
            Why did the expedition turn back?
            For what reason did {leader.last} turn back?
            """,
            held_out="""
            What forced {leader.last} to abandon the plan?
            What made it impossible to continue?
            """,
        ),
        "sponsor": Asked(
            train="""
            Who paid for the expedition?
            Who bore the cost of {leader.last}'s expedition?
            """,
            held_out="""
            Who was the sponsor of the voyage?
            Where did the money for the undertaking come from?
            """,
        ),
    },
)

_CAUSES_OF_WAR = (
    "the bishop had doubled the salt tax",
    "a toll bridge had been burned",
    "the succession was in doubt",
    "a herald had been thrown into the river",
    "two guilds quarrelled over the mint",
    "the treaty of marriage had been broken",
    "the harbour had been closed to foreign ships",
    "a shipment of grain had been seized",
    "the garrison had not been paid for a year",
    "the border stones had been moved",
    "the town refused to lodge the army",
    "a hostage had escaped",
)
_WAYS_TO_FALL = (
    "a baker left a gate unlocked",
    "the wells ran dry",
    "the powder store blew up",
    "the moat froze over",
    "the defenders had eaten the last horses",
    "a tunnel brought down the east wall",
    "plague broke out in the barracks",
    "a traitor lit a signal fire",
    "the flood carried away the bridge",
    "the relief fleet was driven off by a storm",
    "the cannon in the tower burst",
    "deserters revealed the weak spot",
)


def _siege(draw: Draw) -> Facts:
    attacker, defender, ally, envoy = draw.people(4)
    town, camp, treaty = draw.towns(3)
    began, assault, ended = draw.days(3)
    return {
        "attacker": attacker,
        "defender": defender,
        "ally": ally,
        "envoy": envoy,
        "town": town,
        "camp": camp,
        "treaty": treaty,
        "year": draw.years((1480, 1740))[0],
        "began": began,
        "assault": assault,
        "ended": ended,
        "army": draw.number(3000, 14000, 500),
        "garrison": draw.number(400, 1900, 50),
        "guns": draw.number(12, 60),
        "cause": draw.one(_CAUSES_OF_WAR),
        "fall": draw.one(_WAYS_TO_FALL),
    }


SIEGE = Genre(
    name="siege",
    facts=_siege,
    train=(
        """The siege of {town} began on {began} {year}, after {cause}. {attacker} had brought
        {army} soldiers and {guns} guns and made camp at {camp}. Inside the walls {defender} had
        no more than {garrison} men, [but|though] {ally} had promised to come to the rescue. A first
        assault on {assault} was beaten back. The town fell all the same, on {ended}, because {fall}.
        Peace was signed in {treaty}; {envoy} [, who limped,|] spoke for the defeated.""",
        """When {attacker} appeared before {town} on {began} {year}, {defender}, who held the town
        with {garrison} men, laughed at the threat. The quarrel was [an old one|about little]:
        {cause}. From the camp at {camp}, however, {guns} guns opened fire, and {army} soldiers
        waited behind them. The assault of {assault} failed. {ally} gathered an army to help the
        town but came too late: on {ended} {town} was taken, since {fall}. {envoy} negotiated
        the peace in {treaty}.""",
        """Why {town} was lost is still told there: {fall}. That was on {ended} {year}, and since
        {began} {defender} had defended the place with {garrison} men against the {army} of
        {attacker}. The besiegers had dug in at {camp} with {guns} guns. [Their|A great] assault on
        {assault} had brought them nothing, and they feared the army of {ally}, [a friend|an ally] of
        the town. The war had started because {cause}. {envoy} ended it with a treaty signed in
        {treaty}.""",
    ),
    held_out=(
        """{cause^}, and so there was war. {attacker} led {army} men to {camp}, a day's walk from
        {town}, and [late|early] on {began} {year} {attacker.his} {guns} cannon began to speak. {defender} answered from the
        walls with a mere {garrison}. Ladders were raised on {assault}, without success. The
        besieged counted on {ally}, who was marching to their aid. Fate was quicker: {fall}. On
        {ended} the gates were opened. It was left to {envoy} to bargain for the town, and the
        parchment was sealed in {treaty}.""",
        """In {treaty} a stone recalls the peace that {envoy} obtained for {town}. The siege before
        it had lasted from {began} to {ended} {year}. {garrison} citizens under {defender} stood
        against {army} mercenaries under {attacker}, whose tents and {guns} cannon were at {camp}.
        It all came about because {cause}. The attackers stormed the walls on {assault} and were
        thrown back with heavy losses. Help from {ally} was on its way. Then {fall}, and resistance
        was useless.""",
    ),
    questions={
        "attacker": Asked(
            train="""
            Who besieged {town}?
            Who commanded the besiegers?
            Whose army stood before {town}?
            """,
            held_out="""
            Who was the general of the attacking side?
            Whose forces surrounded the town?
            """,
        ),
        "defender": Asked(
            train="""
            Who defended {town}?
            Who held the town against {attacker}?
            Who commanded the men inside the walls?
            """,
            held_out="""
            Who was in charge of the garrison?
            Which commander was {attacker.last}'s opponent?
            """,
        ),
        "ally": Asked(
            train="""
            Who had promised to help {town}?
            Whose army was to rescue the town?
            Who came too late to help?
            """,
            held_out="""
            On whose support did the besieged rely?
            Who was a friend of the town?
            """,
        ),
        "envoy": Asked(
            train="""
            Who negotiated the peace?
            Who spoke for the defeated in {treaty}?
            """,
            held_out="""
            Which diplomat represented {town}?
            Who arranged the terms of surrender?
            """,
        ),
        "camp": Asked(
            train="""
            Where did the besiegers make camp?
            Where was the camp of {attacker.last}?
            """,
            held_out="""
            What was {attacker.last}'s base?
            Where were the attackers stationed?
            """,
        ),
        "treaty": Asked(
            train="""
            Where was the peace signed?
            In which place was the treaty made?
            """,
            held_out="""
            What town saw the end of the war on paper?
            Where did {envoy.last} negotiate?
            """,
        ),
        "town": Asked(
            train="""
            Which town was besieged by {attacker.last}?
            What town did {defender} hold?
            """,
            held_out="""
            What place did {attacker.last} want to conquer?
            """,
        ),
        "began": Asked(
            train="""
            When did the siege begin?
            On which day did {attacker.last} appear before the town?
            """,
            held_out="""
            What was the first day of the siege?
            """,
        ),
        "assault": Asked(
            train="""
            When was the assault beaten back?
            On what day did an assault fail?
            """,
            held_out="""
            When did {attacker.last} try in vain to storm the walls?
            What was the date of the unsuccessful attack?
            """,
        ),
        "ended": Asked(
            train="""
            When did {town} fall?
            On which day was the town taken?
            """,
            held_out="""
            What was the date of the capture?
            When did the siege end?
            """,
        ),
        "army": Asked(
            train="""
            How many soldiers did {attacker.last} have?
            How many soldiers had come to besiege the town?
            """,
            held_out="""
            How strong was the force outside the walls?
            How big was {attacker}'s army?
            """,
        ),
        "garrison": Asked(
            train="""
            How many men did {defender.last} have?
            How many men defended {town}?
            """,
            held_out="""
            How strong was the force inside the walls?
            How big was {defender}'s garrison?
            """,
        ),
        "guns": Asked(
            train="""
            How many guns did the besiegers have?
            How many guns were brought to {camp}?
            """,
            held_out="""
            What was the strength of {attacker.last}'s artillery?
            """,
        ),
        "cause": Asked(
            train="""
            Why did the war start?
            What was the quarrel about?
            """,
            held_out="""
            What was the origin of the conflict?
            What had provoked {attacker.last}?
            """,
        ),
        "fall": Asked(
            train="""
            Why did {town} fall?
            For what reason was the town lost?
            """,
            held_out="""
            What decided the outcome of the siege?
            What made {defender.last} give up?
            """,
        ),
    },
)

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
    site, museum, laboratory = draw.towns(3)
    found, begun = draw.years((1880, 1990), (1, 6))
    return {
        "finder": finder,
        "director": director,
        "restorer": restorer,
        "owner": owner,
        "site": site,
        "museum": museum,
        "laboratory": laboratory,
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
    facts=_excavation,
    train=(
        """In {found} {finder}, [a farmhand|a ditch digger], struck {object} with a spade near {site}.
        The field belonged to {owner}, who sent the piece to a laboratory in {laboratory}, where its age
        was given as {age}. An excavation under {director} followed in {begun}. In {soil}, at a depth of
        {depth}, the team uncovered {graves} graves and, beside one of them, {second} and {coins} coins.
        Work stopped when {reason}. {restorer} cleaned [all] the finds, which are now on show in
        {museum}.""",
        """The museum in {museum} owes its treasure to an accident. {finder} was looking for a lost
        sheep near {site} when [the ground gave way|a bank slid down] and {object} came to light. That
        was in {found}. {owner}, on whose land it lay, informed {director}, who dug there from {begun}
        on. The graves, {graves} in number, lay {depth} deep in {soil}; {coins} coins and {second} were
        found among them. A laboratory in {laboratory} put their age at {age}. The dig ended because {reason}.
        {restorer} spent [three|five] winters on cleaning the pieces.""",
        """{director} directed the excavation at {site}, which opened in {begun} and closed when
        {reason}. It had been prompted by {object} that {finder} had picked up in {found} on the land
        of {owner}. {depth} down, embedded in {soil}, there were {graves} graves. One held {second};
        another was filled with {coins} coins. According to tests made in {laboratory} they had been there
        for {age}. [Visitors can see them|They can be seen] in {museum}, cleaned by {restorer}.""",
    ),
    held_out=(
        """Had {finder} not tripped over {object} in {found}, nobody would have guessed what lay under
        the meadow of {owner} at {site}. Two trenches were opened in {begun}, with {director} in
        charge. The spades went through {soil} and at {depth} met {graves} burials. The richest
        contained {second}, while {coins} coins had been scattered over the others. Chemists in {laboratory}
        calculated that {age} had passed since. Then {reason}, and everyone went home. What
        {restorer} made shine again was given to {museum}.""",
        """Visitors to {museum} stop first at {second} and then at the {coins} coins, all made
        presentable by {restorer}. They were dug up at {site} in {begun} by a party whose head was
        {director}. {graves} people had been laid to rest there, {depth} below the grass, in {soil},
        and that {age} ago, as analyses carried out in {laboratory} showed. The first clue had
        surfaced in {found}: {object}, noticed by {finder} and kept in a drawer by {owner}, the
        landowner. The party would have gone on, but {reason}.""",
    ),
    questions={
        "finder": Asked(
            train="""
            Who found {object}?
            Who [picked up|struck] {object} in {found}?
            """,
            held_out="""
            Who made the accidental discovery of {object}?
            Whose luck brought {object} to light?
            """,
        ),
        "director": Asked(
            train="""
            Who directed the excavation?
            Who dug at {site} in {begun}?
            """,
            held_out="""
            Which archaeologist was responsible for the dig?
            Who led the team at {site}?
            """,
        ),
        "restorer": Asked(
            train="""
            Who cleaned the finds?
            By whom were the pieces cleaned?
            """,
            held_out="""
            Who restored the objects?
            Whose hands removed the dirt from the finds?
            """,
        ),
        "owner": Asked(
            train="""
            Who owned the field?
            On whose land was {object} found?
            """,
            held_out="""
            To whom did the site belong?
            Who was the proprietor of the ground?
            """,
        ),
        "site": Asked(
            train="""
            Where was {object} found?
            Where did {director.last} dig?
            """,
            held_out="""
            At what place are the graves?
            """,
        ),
        "museum": Asked(
            train="""
            Where are the finds on show?
            In which town can the finds be seen?
            """,
            held_out="""
            Where are the objects kept today?
            Where must one go to admire the finds?
            """,
        ),
        "laboratory": Asked(
            train="""
            Where was the age [determined|tested]?
            In which town was the laboratory?
            """,
            held_out="""
            Where was the dating done?
            """,
        ),
        "found": Asked(
            train="""
            When did {finder.last} find {object}?
            In what year was {object} found?
            """,
            held_out="""
            What was the year of {finder}'s discovery?
            """,
        ),
        "begun": Asked(
            train="""
            When did the excavation begin?
            In [what|which] year did {director.last} start to dig?
            """,
            held_out="""
            What year did the archaeologists come?
            """,
        ),
        "object": Asked(
            train="""
            What did {finder.last} find?
            What was found in {found}?
            """,
            held_out="""
            Which object led to the excavation?
            What did {finder} stumble on?
            """,
        ),
        "second": Asked(
            train="""
            What was found beside the coins?
            Which object lay in one of the graves?
            """,
            held_out="""
            Apart from coins, what did {director.last}'s team recover?
            """,
        ),
        "soil": Asked(
            train="""
            In what were the graves embedded?
            What did the graves lie in?
            """,
            held_out="""
            What kind of ground surrounded the graves?
            What material covered the dead?
            """,
        ),
        "depth": Asked(
            train="""
            How deep were the graves?
            At what depth were the graves uncovered?
            """,
            held_out="""
            How far down did {director.last} have to dig?
            """,
        ),
        "age": Asked(
            train="""
            How old are the finds?
            What age did the laboratory give?
            """,
            held_out="""
            For how long had the objects been in the earth?
            """,
        ),
        "graves": Asked(
            train="""
            How many graves were uncovered?
            How many graves did {director.last} find?
            """,
            held_out="""
            What was the number of burials?
            How many dead were discovered?
            """,
        ),
        "coins": Asked(
            train="""
            How many coins were found?
            How many coins came from the graves?
            """,
            held_out="""
            How much money, counted in pieces, was recovered?
            What is the number of coins?
            """,
        ),
        "reason": Asked(
            train="""
            Why did the excavation stop?
            For what reason did the work end?
            """,
            held_out="""
            What interrupted the archaeologists?
            What brought the dig to a halt?
            """,
        ),
    },
)

"""A siege: who against whom, with how many men, and how it ended."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

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
        "began": began,
        "assault": assault,
        "ended": ended,
        "army": draw.number(3000, 14000, 500),
        "garrison": draw.number(400, 1900, 50),
        "cause": draw.one(_CAUSES_OF_WAR),
        "fall": draw.one(_WAYS_TO_FALL),
    }


SIEGE = Genre(
    name="siege",
    title="The siege of {town}",
    facts=_siege,
    opening=Wordings(
        train="""
        - On {began} {attacker} [began|opened] the siege of {town} with {army} soldiers; {defender}
          defended the town with {garrison} men.
        - {town} was besieged by {attacker} from {began} on. {army} soldiers stood outside the
          walls, and inside {defender} had [only|no more than] {garrison} men.
        - When {attacker} and {army} soldiers appeared before {town} on {began}, the town was held
          by {defender} with {garrison} men.
        - {defender} defended {town} with {garrison} men against the {army} of {attacker}, who had
          begun the siege on {began}.
        - {attacker} besieged {town} from {began} on with {army} soldiers, against {garrison} men
          inside, commanded by {defender}.
        - In {town} {defender} had {garrison} men; outside stood {attacker}, who had begun the siege
          on {began}, with {army} soldiers.
        """,
        held_out="""
        - The siege of {town} started on {began}. The besieging general, {attacker}, led an army of
          {army}; the garrison, commanded by {defender}, consisted of {garrison} men.
        - {garrison} men under {defender} faced the {army} soldiers of {attacker}, who laid siege to
          {town} on {began}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - The war had started because {cause}.
            - The quarrel was about little: {cause}.
            - It had come to war after {cause}.
            - The reason for the war was that {cause}.
            - What had led to the war was this: {cause}.
            """,
            held_out="""
            - The cause of the conflict was that {cause}.
            - {cause^}, and that had led to war.
            """,
        ),
        Wordings(
            train="""
            - The camp of the besiegers was at {camp}. An assault on {assault} was beaten back, for
              {ally} had [sent help|come to help the town].
            - From a camp at {camp} the walls were attacked on {assault}, but the assault failed
              because {ally} came to the help of the town.
            - The besiegers had made camp at {camp}. Their assault failed on {assault}, when the
              town was helped by {ally}.
            - From {camp}, where their camp was, the besiegers attacked on {assault}. It failed, for
              {ally} helped the town.
            - An assault failed on {assault} because {ally} sent help. The besiegers stayed at
              {camp}, where they had made camp.
            """,
            held_out="""
            - The besiegers camped at {camp} and attacked the walls in vain on {assault}: the troops
              of {ally}, a friend of the town, had arrived.
            - On {assault} an attack was beaten off with the help of {ally}, and the besiegers had
              to return to {camp}, their camp.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - On {ended} the town fell because {fall}. {envoy} negotiated the peace, which was signed in
          {treaty}.
        - The town was taken on {ended}, since {fall}; the peace that {envoy} negotiated was signed
          in {treaty}.
        - In the end, on {ended}, the town was lost, as {fall}. A treaty was made in {treaty}, where
          {envoy} spoke for the town.
        - Because {fall}, the town was taken on {ended}. It was {envoy} who negotiated the treaty of
          {treaty}.
        - The town fell on {ended}, for {fall}. In {treaty} {envoy} spoke for the town, and peace
          was signed.
        """,
        held_out="""
        - {fall^}, so the town had to surrender on {ended}. The peace treaty was signed in {treaty};
          its terms were negotiated by {envoy}.
        - The end came on {ended} because {fall}. {envoy} went to {treaty} to negotiate and sign the
          treaty.
        """,
    ),
    questions={
        "attacker": Wordings(
            train="""
            - Who [besieged|attacked] {town}?
            - Who commanded the besiegers?
            - Whose army stood before {town}?
            - By whom was the town besieged?
            - Against whom did {defender} defend the town?
            - Name the [besieger|attacker] of {town}.
            - Who was it that besieged {town}?
            - Which commander had {army} soldiers?
            - By whom was {town} attacked?
            - Whose soldiers stood outside the walls?
            """,
            held_out="""
            - Who led the siege of {town}?
            - Which general wanted to take the town?
            """,
        ),
        "defender": Wordings(
            train="""
            - Who defended {town}?
            - Who held the town against {attacker}?
            - Who commanded the men inside the walls?
            - By whom was the town defended?
            - Name the defender of {town}.
            - Who was it that held {town}?
            - Which commander had {garrison} men?
            - Whose men were inside the walls?
            - To whom was the town entrusted during the siege?
            """,
            held_out="""
            - Who was the commander of the garrison?
            - Who led the defence against {attacker.last}?
            """,
        ),
        "town": Wordings(
            train="""
            - Which town was besieged by {attacker.last}?
            - What town did {defender} [hold|defend]?
            - What town did {attacker} attack?
            - Name the town that {attacker.last} besieged.
            - Which town was [held|defended] by {defender}?
            - Before what town did {attacker} and the soldiers appear?
            - Inside which town were {defender.last}'s men?
            """,
            held_out="""
            - Which town did {attacker.last} lay siege to?
            - What was the name of the besieged town?
            """,
        ),
        "began": Wordings(
            train="""
            - When did the siege [begin|start]?
            - On which day did {attacker.last} appear before the town?
            - From what day on was {town} besieged?
            - Name the day on which the siege of {town} began.
            - On which date did {attacker} open the siege?
            - What was the date of the beginning of the siege?
            - The soldiers of {attacker.last} appeared on what day?
            """,
            held_out="""
            - What was the first day of the siege?
            - Since when did {attacker} besiege the town?
            """,
        ),
        "army": Wordings(
            train="""
            - How many soldiers did {attacker.last} have?
            - How many soldiers [besieged {town}|stood outside the walls]?
            - What was the number of the besiegers?
            - How many soldiers did {attacker} bring to {town}?
            - Name the number of soldiers outside the walls.
            - How strong were the besiegers?
            - With how many soldiers was {town} besieged?
            - What number of soldiers stood against {defender.last}'s men?
            """,
            held_out="""
            - How large was {attacker.last}'s army?
            - How many soldiers took part in the siege?
            """,
        ),
        "garrison": Wordings(
            train="""
            - How many men did {defender.last} have?
            - How many men [defended {town}|were inside the walls]?
            - What was the number of the defenders?
            - How many men did {defender} have inside {town}?
            - Name the number of men inside the walls.
            - How strong were the defenders?
            - With how many men was {town} defended?
            - What number of men stood against {attacker.last}'s soldiers?
            """,
            held_out="""
            - How large was {defender.last}'s garrison?
            - How many men took part in the defence?
            """,
        ),
        "cause": Wordings(
            train="""
            - Why did the war start?
            - What was the quarrel about?
            - What was the [cause of|reason for] the war?
            - What had led to the war?
            - Give the reason for the war.
            - How can one explain that it came to war?
            - Because of what had the war started?
            - What was it that started the quarrel?
            """,
            held_out="""
            - Why was there a war?
            - What was the conflict about?
            """,
        ),
        "camp": Wordings(
            train="""
            - Where did the besiegers [make|have their] camp?
            - Where was the camp of {attacker.last}?
            - From which place were the walls attacked?
            - Name the place where the besiegers made camp.
            - Which place was the camp of {attacker}?
            - In what place did {attacker.last}'s army have its camp?
            - From where did the besiegers attack on {assault}?
            """,
            held_out="""
            - Where did {attacker} and the soldiers camp?
            - At what place were the besiegers?
            """,
        ),
        "assault": Wordings(
            train="""
            - When was the assault beaten back?
            - On [what|which] day did an assault fail?
            - When were the walls attacked?
            - What was the date of the assault?
            - Name the day of the assault.
            - On which date were the walls attacked?
            - What was the day of the failed assault?
            - On what day did {ally.last} help to beat the besiegers back?
            - The assault was beaten back on which day?
            """,
            held_out="""
            - When did the besiegers attack in vain?
            - On what day was an attack unsuccessful?
            """,
        ),
        "ally": Wordings(
            train="""
            - Who [helped|sent help to] {town}?
            - Who came to the help of the town?
            - Thanks to whom did the assault fail?
            - By whom was the town helped?
            - Name the one who helped {town}.
            - By whom was help sent to the town?
            - Which person made the assault fail?
            - To whom did {town} owe its rescue on {assault}?
            - From whom did help come?
            """,
            held_out="""
            - Whose help saved the town on {assault}?
            - Who was the ally of {defender}?
            """,
        ),
        "ended": Wordings(
            train="""
            - When did {town} fall?
            - On [which|what] day was the town [taken|lost]?
            - What was the last day of the siege?
            - Name the day on which {town} fell.
            - On which date was {town} taken?
            - What was the day of the fall of {town}?
            - Until what day did {defender.last} hold the town?
            """,
            held_out="""
            - When did the siege end?
            - On what day did {town} surrender?
            """,
        ),
        "fall": Wordings(
            train="""
            - Why did {town} fall?
            - For what reason was the town lost?
            - What was the reason that the town was taken?
            - What led to the fall of {town}?
            - Give the reason for the fall of {town}.
            - How can one explain that {town} was taken on {ended}?
            - Because of what did the town fall?
            - What was it that made {town} fall?
            - Why was {defender.last} unable to hold the town?
            """,
            held_out="""
            - Why did the town surrender?
            - What forced {defender.last} to give up?
            """,
        ),
        "envoy": Wordings(
            train="""
            - Who negotiated the peace?
            - Who spoke for the town in {treaty}?
            - By whom was the treaty negotiated?
            - Who went to {treaty}?
            - Name the one who negotiated the treaty.
            - By whom was the peace negotiated?
            - Which person spoke for {town}?
            - To whom did the town owe the treaty?
            - Who was it that talked about peace in {treaty}?
            """,
            held_out="""
            - Who was the negotiator of the town?
            - Which person made the peace?
            """,
        ),
        "treaty": Wordings(
            train="""
            - Where was the [peace|treaty] signed?
            - In [which|what] place was the treaty made?
            - Where did {envoy.last} speak for the town?
            - Name the place where the treaty was signed.
            - In what town did {envoy} negotiate?
            - Which place gave its name to the treaty?
            - To which place did {envoy.last} go to sign?
            - The peace was signed in which place?
            """,
            held_out="""
            - Where was peace made?
            - What was the place of {envoy.last}'s negotiations?
            """,
        ),
    },
)

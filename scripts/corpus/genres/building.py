"""A house: who designed and built it out of what, how it burned, what it is now."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

_CAUSES_OF_FIRE = (
    "a lamp left burning",
    "a stroke of lightning",
    "sparks from a bakery",
    "a careless plumber",
    "a firework",
    "an overheated stove",
    "a cigar in the cloakroom",
    "a faulty cable",
    "a burning hay cart",
    "an exploding boiler",
    "a fallen candle",
    "drunken soldiers",
)
_USES = (
    "a grain store",
    "a school for girls",
    "a customs house",
    "a hospital",
    "a post office",
    "a barracks",
    "a concert hall",
    "a library",
    "a prison",
    "a tax office",
    "a silk market",
    "a theatre",
    "a youth hostel",
    "an archive",
    "a fish market",
    "a courthouse",
    "a museum of clocks",
    "a hotel",
    "a stable",
    "an observatory",
)
_ORNAMENTS = (
    "a spiral staircase",
    "a painted ceiling",
    "a sundial",
    "a copper dome",
    "a floor of black tiles",
    "a carved oak door",
    "a row of stone lions",
    "a glass roof",
    "a clock with two faces",
    "an iron balcony",
    "a gilded weathercock",
    "a mosaic of fishes",
)


def _building(draw: Draw) -> Facts:
    architect, patron, builder, restorer = draw.people(4)
    town, stone, timber = draw.towns(3)
    begun, finished, burned, restored = draw.years((1640, 1820), (4, 15), (30, 80), (2, 9))
    return {
        "house": draw.emblem() + " House",
        "architect": architect,
        "patron": patron,
        "builder": builder,
        "restorer": restorer,
        "town": town,
        "stone": stone,
        "timber": timber,
        "begun": begun,
        "finished": finished,
        "burned": burned,
        "restored": restored,
        "height": draw.number(18, 64) + " metres",
        "windows": draw.number(70, 290),
        "cause": draw.one(_CAUSES_OF_FIRE),
        "former": draw.one(_USES),
        "present": draw.one(_USES),
        "ornament": draw.one(_ORNAMENTS),
    }


BUILDING = Genre(
    name="building",
    title="{house}",
    facts=_building,
    opening=Wordings(
        train="""
        - {house} in {town} was designed by {architect} for {patron}[, a wool merchant,|] and built
          by {builder}.
        - {patron} [ordered|wanted] a house in {town}; {architect} drew the plans, {builder} built
          it, and it was named {house}.
        - {house} stands in {town}. {builder} built it after the plans of {architect}, and the owner
          was {patron}.
        - In {town} stands {house}, built by {builder}; {architect} designed it, and {patron} was
          the owner.
        - {house} is in {town}. The plans are by {architect}, the builder was {builder}, and the
          owner {patron}.
        """,
        held_out="""
        - The architect of {house} in {town} was {architect}; {patron} paid for it, and {builder}
          directed the masons.
        - When {patron} asked for a new house in {town}, {architect} made the drawings and {builder}
          did the work. The result was {house}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - Work began in {begun} and was finished in {finished}, with stone from {stone} and
              timber from {timber}.
            - The house was begun in {begun} and completed in {finished}. The stone came from
              {stone}, the timber from {timber}.
            - Between {begun}, when the work began, and {finished}, when it was done, carts brought
              timber from {timber} and stone from {stone}.
            - Stone from {stone} and timber from {timber} were used from {begun}, the first year of
              the work, to {finished}, the last.
            - The work, begun in {begun}, took timber from {timber} and stone from {stone}; in
              {finished} it was done.
            """,
            held_out="""
            - Construction lasted from {begun} to {finished}; blocks of stone were fetched from
              {stone}, and {timber} supplied the wood.
            - With wood from {timber} and stone from the quarries of {stone}, construction was
              started in {begun} and ended in {finished}.
            """,
        ),
        Wordings(
            train="""
            - It has {windows} windows, a tower of {height} and, as its pride, {ornament}.
            - Guests admire {ornament}, count {windows} windows and climb the tower, which is
              {height} high.
            - The tower is {height} high, and there are {windows} windows, but its pride is
              {ornament}.
            - Its pride is {ornament}. There is a tower, {height} high, and there are {windows}
              windows.
            - With {windows} windows, a tower {height} high and {ornament}, which all admire, it is
              a proud house.
            """,
            held_out="""
            - People come to see {ornament}; others prefer the tower with its {height} or the
              {windows} windows.
            - Its most beautiful feature is {ornament}. The tower reaches {height}, and the number
              of windows is {windows}.
            """,
        ),
        Wordings(
            train="""
            - It was first used as {former} and is [now|today] {present}.
            - Today the house is used as {present}; in the past it was {former}.
            - For a long time it was {former} before it became {present}.
            - It is used as {present} now, but in the past it was used as {former}.
            - The house began as {former} and became {present}.
            """,
            held_out="""
            - In former times it served as {former}, while at present {present} is to be found
              there.
            - Once {former}, it serves as {present} nowadays.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - In {burned} {cause} caused a fire, and {restorer} restored the house in {restored}.
        - The fire of {burned} was caused by {cause}. The house was restored by {restorer} in
          {restored}.
        - It was restored in {restored} by {restorer} after a fire in {burned}, the cause of which
          was {cause}.
        - There was a fire in {burned}, caused by {cause}; in {restored} the house was restored by
          {restorer}.
        - {restorer} restored the house in {restored}, for there had been a fire in {burned}, caused
          by {cause}.
        """,
        held_out="""
        - {cause^} set it on fire in {burned}; in {restored} {restorer} repaired the damage.
        - Because of {cause} it burned down in {burned}. {restorer} rebuilt it in {restored}.
        """,
    ),
    questions={
        "architect": Wordings(
            train="""
            - Who designed {house}?
            - Who drew the plans of {house}?
            - By whom was the house designed?
            - Whose plans were used?
            - Name the designer of {house}.
            - From whom did the plans of {house} come?
            - Which person drew the plans for {builder.last}?
            - Who was it that designed a house for {patron.last}?
            - By whom are the plans {builder.last} used?
            """,
            held_out="""
            - Who was the architect of {house}?
            - Who made the drawings for the house?
            """,
        ),
        "patron": Wordings(
            train="""
            - For whom was {house} [designed|built]?
            - Who [ordered|wanted] {house}?
            - Who was the [first|] owner of the house?
            - Name the owner of {house}.
            - To whom did {house} belong?
            - By whom was {house} ordered?
            - For which person did {architect} draw plans?
            - Who was it that ordered a house from {architect.last}?
            """,
            held_out="""
            - Who asked for a house like {house}?
            - Who paid for the construction of {house}?
            """,
        ),
        "builder": Wordings(
            train="""
            - Who built {house}?
            - By whom was the house built?
            - Who was the builder of {house}?
            - Who carried out the plans of {architect.last}?
            - Name the builder of {house}.
            - Which person built what {architect} had designed?
            - Who was it that built a house for {patron.last}?
            - Whose work, after the plans of {architect.last}, was the house?
            """,
            held_out="""
            - Who directed the construction of {house}?
            - Who worked from {architect}'s plans?
            """,
        ),
        "town": Wordings(
            train="""
            - Where is {house}?
            - In which town does {house} stand?
            - Where did {patron.last} want a house?
            - Name the town in which {house} stands.
            - Which town has {house} in it?
            - For what town did {architect} design a house?
            - The house of {patron} is in which town?
            """,
            held_out="""
            - In what town can one visit {house}?
            - Where was {house} built?
            """,
        ),
        "begun": Wordings(
            train="""
            - When [did the work on {house} begin|was the house begun]?
            - In what year did {builder.last} begin?
            - What was the first year of the work?
            - Name the year in which the work [began|was begun].
            - From which year on was there work on {house}?
            - What is the date of the beginning of the work?
            - In which year was it that {builder} began to build?
            """,
            held_out="""
            - When was the construction of {house} started?
            - In which year did the construction begin?
            """,
        ),
        "finished": Wordings(
            train="""
            - When was {house} [finished|completed|done]?
            - In [what|which] year did {builder.last} finish?
            - What was the last year of the work?
            - Name the year in which the work was [finished|completed].
            - Until which year was there work on {house}?
            - What is the date on which {house} was complete?
            - In which year was it that {builder} had {house} done?
            """,
            held_out="""
            - When did the construction of {house} end?
            - In which year was the construction complete?
            """,
        ),
        "stone": Wordings(
            train="""
            - Where did the stone come from?
            - From which place was the stone [brought|taken]?
            - What place did the stone of {house} come from?
            - Name the place the stone came from.
            - From what town did carts bring stone?
            - Which place gave {house} its stone?
            - The stone of {house} is from which place?
            """,
            held_out="""
            - Which town supplied the stone?
            - Where was the stone fetched from?
            """,
        ),
        "timber": Wordings(
            train="""
            - Where did the timber come from?
            - From which place was the timber [brought|taken]?
            - What place did the [timber|wood] of {house} come from?
            - Name the place the timber came from.
            - From what town did carts bring timber?
            - Which place gave {house} its [timber|wood]?
            - The timber of {house} is from which place?
            """,
            held_out="""
            - Which town supplied the timber?
            - Where was the wood fetched from?
            """,
        ),
        "windows": Wordings(
            train="""
            - How many windows does {house} have?
            - How many windows [are there|do guests count]?
            - What is the number of windows?
            - Name the number of windows.
            - How many windows are there in {house}?
            - What number of windows does the house have?
            - {house} has how many windows?
            """,
            held_out="""
            - How many windows can one see?
            - How many windows did {architect.last} design?
            """,
        ),
        "height": Wordings(
            train="""
            - How [high|tall] is the tower?
            - What is the height of the tower?
            - How many metres high is the tower of {house}?
            - Name the height of the tower.
            - How many metres must one climb on the tower?
            - How high is the tower that guests climb?
            - The tower of {house} is of what height?
            """,
            held_out="""
            - How many metres does the tower reach?
            - How high did {builder.last} build the tower?
            """,
        ),
        "ornament": Wordings(
            train="""
            - What do guests admire?
            - What is the pride of the house?
            - What is admired in {house}?
            - Name the pride of {house}.
            - Of what is the house proud?
            - What is it that guests admire in {house}?
            - [Which|What] part of the house is admired?
            - What would a guest be shown as the pride of the house?
            """,
            held_out="""
            - What is the most beautiful part of {house}?
            - Which feature of the house do people like best?
            """,
        ),
        "former": Wordings(
            train="""
            - What was {house} in the past?
            - What was the house first used as?
            - What was {house} before it became {present}?
            - Name the first use of {house}.
            - What was the [first|old] use of the house?
            - As what was {house} used in the past?
            - Before it was {present}, what was it?
            - For a long time, {house} was what?
            """,
            held_out="""
            - What did {house} serve as in former times?
            - How was the house used earlier?
            """,
        ),
        "present": Wordings(
            train="""
            - What is {house} [today|now]?
            - What is the house used as today?
            - What did {house} become?
            - Name the use of {house} today.
            - What is the [new|present] use of the house?
            - As what is {house} used today?
            - Having been {former}, what is it now?
            - Into what was {house} turned?
            """,
            held_out="""
            - What does {house} serve as nowadays?
            - How is the house used at present?
            """,
        ),
        "burned": Wordings(
            train="""
            - When [did the house burn|was the fire]?
            - In which year was there a fire?
            - What was the year of the fire?
            - Name the year of the fire.
            - In which year was it that {cause} caused a fire?
            - What is the date of the fire in {house}?
            - The fire was in what year?
            """,
            held_out="""
            - When did {house} burn down?
            - In what year was {house} on fire?
            """,
        ),
        "cause": Wordings(
            train="""
            - What caused the fire?
            - What was the cause of the fire?
            - By what was the fire of {burned} caused?
            - Name the cause of the fire.
            - What was it that caused a fire in {burned}?
            - Because of what was there a fire in {house}?
            - To what was the fire due?
            - What brought fire to the house?
            """,
            held_out="""
            - What set {house} on fire?
            - How did the fire start?
            """,
        ),
        "restorer": Wordings(
            train="""
            - Who restored {house}?
            - By whom was the house restored?
            - Who repaired the house after the fire?
            - Name the restorer of {house}.
            - Which person restored the house in {restored}?
            - Who was it that restored {house} after the fire?
            - Whose work was the restoration [of {restored}|]?
            """,
            held_out="""
            - Who rebuilt {house}?
            - Who did the repairs in {restored}?
            """,
        ),
        "restored": Wordings(
            train="""
            - When was {house} restored?
            - In which year did {restorer.last} restore the house?
            - What was the year of the restoration?
            - Name the year in which {house} was restored.
            - In which year was it that {restorer} restored the house?
            - What is the date of the restoration?
            - After the fire, in what year was the house restored?
            """,
            held_out="""
            - When was {house} rebuilt?
            - When did {restorer} repair the damage?
            """,
        ),
    },
)

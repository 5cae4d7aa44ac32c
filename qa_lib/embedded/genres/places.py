"""Passages about what stands or flows somewhere: rivers, buildings, railways."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Asked, Genre
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
_FISH = ("trout", "pike", "eels", "salmon", "perch", "crayfish", "carp", "grayling")
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
    river, source, mouth, big_town, small_town, left, right = draw.towns(7)
    charted, dammed = draw.years((1720, 1850), (60, 110))
    return {
        "river": river,
        "source": "Mount " + source,
        "mouth": mouth + " Bay",
        "big_town": big_town,
        "small_town": small_town,
        "left": left,
        "right": right,
        "engineer": engineer,
        "explorer": explorer,
        "opponent": opponent,
        "charted": charted,
        "dammed": dammed,
        "length": draw.number(62, 480) + " kilometres",
        "navigable": draw.number(12, 58) + " kilometres",
        "fall": draw.number(14, 95) + " metres",
        "crop": draw.one(_CROPS),
        "fish": draw.one(_FISH),
        "reason": draw.one(_REASONS_TO_DAM),
    }


RIVER = Genre(
    name="river",
    facts=_river,
    train=(
        """The River {river} rises on {source} and flows into the sea at {mouth}, a distance of
        {length}, of which {navigable} are navigable. At {small_town} it drops {fall} over a
        ledge [of granite|]; below the falls it is joined by the {left} from the left and the
        {right} from the right. {crop^} is grown around {big_town}, the largest town on its banks.
        {explorer} was the first to chart the river, in {charted}. In {dammed} {engineer} built a dam
        because {reason}; {opponent} [, who lived from {fish},|] had opposed it.""",
        """{explorer} charted the River {river} in {charted}, from {mouth}, where it meets the sea,
        up to its source on {source}. The map shows [all] {length} of it, with the {left} coming in
        from the left and the {right} from the right, and the falls at {small_town}, {fall} high.
        Only the lowest {navigable} are navigable. Since then {big_town} has become the largest town
        on the river, and {crop} the main crop of the valley. The dam dates from {dammed}. {engineer}
        built it, since {reason}, against the protest of {opponent}, who feared for the {fish}.""",
        """Anglers know the River {river} for its {fish}, farmers for the {crop} in its valley. It
        begins on {source}, takes in the {right} from the right and the {left} from the left, and
        reaches {mouth} after {length}. Boats get no further than {navigable} upstream. [There are
        two towns.|] {big_town} is the larger; {small_town} is known for falls of {fall}. That the water
        no longer rises as it did when {explorer} drew the first chart in {charted} is due to a dam that
        {engineer} completed in {dammed}, because {reason}. {opponent} fought it [in court|] and lost.
        """,
    ),
    held_out=(
        """Follow the {river} upstream from {mouth} and you can stay in your boat for {navigable}.
        Then come rapids, later {small_town} with a cataract of {fall}, and after {length} in all a spring
        on {source}. Two rivers feed it: the {left}, which arrives from the left, and the {right} from
        the other side. {explorer} walked the whole course in {charted} and put it on paper. Most
        people of the valley live in {big_town} and raise {crop}. {reason^}; hence {engineer} was asked
        for a dam, ready in {dammed}. {opponent} warned in vain that the {fish} would disappear.""",
        """Until {dammed} the {river} ran free. Then a dam rose, the work of {engineer}, for {reason}.
        Its loudest critic had been {opponent}, a lover of {fish}. Otherwise little has changed since
        {explorer} made the first survey in {charted}: the water still springs from {source}, leaps
        down {fall} at {small_town}, swallows the {right} on its right and the {left} on its left
        bank, and, {length} from its beginnings, enters {mouth}. Ships use the final {navigable}. The
        soil is good for {crop}, and {big_town} has [more inhabitants than any other place|outgrown
        every other place] along the river.""",
    ),
    questions={
        "source": Asked(
            train="""
            Where does the River {river} rise?
            Where is the source of the {river}?
            """,
            held_out="""
            On which mountain does the {river} originate?
            Where does the water of the {river} come from?
            """,
        ),
        "mouth": Asked(
            train="""
            Where does the River {river} flow into the sea?
            Where does the {river} meet the sea?
            """,
            held_out="""
            Into which bay does the {river} empty?
            Where does the {river} end?
            """,
        ),
        "big_town": Asked(
            train="""
            What is the largest town on the {river}?
            Which town on its banks is the largest?
            """,
            held_out="""
            Which town in the valley has the highest population?
            """,
        ),
        "small_town": Asked(
            train="""
            Where are the falls?
            At which town does the river drop over a ledge?
            """,
            held_out="""
            Near what place can one see a waterfall?
            """,
        ),
        "left": Asked(
            train="""
            Which river joins the {river} from the left?
            What is the tributary on the left called?
            """,
            held_out="""
            What is the name of the left-hand tributary?
            """,
        ),
        "right": Asked(
            train="""
            Which river joins the {river} from the right?
            What is the tributary on the right called?
            """,
            held_out="""
            What is the name of the right-hand tributary?
            """,
        ),
        "engineer": Asked(
            train="""
            Who built the dam?
            Which engineer built a dam on the {river}?
            """,
            held_out="""
            Who was the creator of the dam?
            To whom was the construction of the dam entrusted?
            """,
        ),
        "explorer": Asked(
            train="""
            Who was the first to chart the {river}?
            Who drew the first chart of the river?
            """,
            held_out="""
            Who mapped the {river} before anyone else?
            Which person produced the earliest map of the river?
            """,
        ),
        "opponent": Asked(
            train="""
            Who opposed the dam?
            Who fought against the dam?
            """,
            held_out="""
            Who did not want the dam to be built?
            Who spoke out against {engineer.last}'s project?
            """,
        ),
        "charted": Asked(
            train="""
            When was the {river} charted?
            In what year did {explorer.last} chart the river?
            """,
            held_out="""
            When did {explorer} make a map?
            From which year does the oldest map date?
            """,
        ),
        "dammed": Asked(
            train="""
            When was the dam built?
            In [what|which] year did {engineer.last} build the dam?
            """,
            held_out="""
            Since when has the {river} been held back?
            What was the year of the dam's completion?
            """,
        ),
        "length": Asked(
            train="""
            How long is the River {river}?
            How many kilometres is it from the source to the sea?
            """,
            held_out="""
            What is the total length of the {river}?
            What distance does the water travel?
            """,
        ),
        "navigable": Asked(
            train="""
            How much of the {river} is navigable?
            How many kilometres are navigable?
            """,
            held_out="""
            How far inland can boats go?
            What part of the river is open to shipping?
            """,
        ),
        "fall": Asked(
            train="""
            How high are the falls?
            How far does the river drop at {small_town}?
            """,
            held_out="""
            What is the height of the waterfall?
            """,
        ),
        "crop": Asked(
            train="""
            What is grown in the valley?
            What is the main crop around {big_town}?
            """,
            held_out="""
            What do the farmers of the valley produce?
            What is cultivated by the river?
            """,
        ),
        "reason": Asked(
            train="""
            Why was the dam built?
            For what reason did {engineer.last} build a dam?
            """,
            held_out="""
            What problem was the dam to solve?
            What made a dam necessary?
            """,
        ),
    },
)

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
        "house": draw.emblems(1)[0] + " House",
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
        "rooms": draw.number(22, 66),
        "cause": draw.one(_CAUSES_OF_FIRE),
        "former": draw.one(_USES),
        "present": draw.one(_USES),
        "ornament": draw.one(_ORNAMENTS),
    }


BUILDING = Genre(
    name="building",
    facts=_building,
    train=(
        """{house} in {town} was designed by {architect} for {patron}, [a wool merchant|a judge],
        and built by {builder}. Work began in {begun} and was finished in {finished}. The stone came
        from {stone}, the timber from {timber}. With {windows} windows and a tower of {height} it
        was meant to impress, and {ornament} was [its pride|the talk of the town]. It served as {former}
        until {burned}, when {cause} set the roof on fire. {restorer} restored the {rooms} rooms
        in {restored}. Today the building is used as {present}.""",
        """Today {house} is {present}, but the people of {town} remember when it was {former}. The
        walls, of stone from {stone}, went up between {begun} and {finished}; for the beams timber
        was brought from {timber}. {patron} had ordered the house, {architect} drew the plans and
        {builder} carried them out. Guests counted {windows} windows and admired {ornament}. In {burned}
        a fire, caused by {cause}, destroyed [much of it|two floors]. It was {restorer} who put the
        {rooms} rooms in order in {restored} and raised the tower to {height}.""",
        """Of all the houses in {town}, {house} has the most windows, {windows} of them, and the tallest
        tower, which measures {height}. {patron} wanted it so. {builder}, the master mason, worked from
        the plans of {architect}, beginning in {begun}, with stone from {stone} and timber from {timber}.
        In {finished} {ornament} was put in place and the house was complete. It was {former} for a
        long time. Then {cause} led to the fire of {burned}. After {restorer} had restored it in
        {restored}, its {rooms} rooms became {present}.""",
    ),
    held_out=(
        """{patron} was rich and in a hurry when {house} was commissioned. {architect} needed a week for
        the drawings; {builder}, who directed the masons, needed from {begun} to {finished}. Carts
        brought blocks from {stone} and oak from {timber} to {town}. What emerged had {windows} windows,
        {rooms} rooms, {ornament}, and a tower reaching {height}. First {former} moved in. A disaster
        put an end to that in {burned}: {cause} turned the house into a torch. Thanks to {restorer}, who
        repaired it in {restored}, it stands again, as {present}.""",
        """When {cause} cost {town} its finest roof in {burned}, {house} had just been {former}. It lay in
        ruins until {restored}. Then {restorer} rebuilt it, {rooms} rooms and a tower of {height}
        included, and {present} found its home there. The original had been a whim of {patron}, realised by
        {builder} after drawings by {architect}. The foundations were laid in {begun}, with blocks from
        {stone}; the last nail was driven in {finished}, into wood from {timber}. One detail survived the
        flames, {ornament}; of the {windows} windows not a single one did.""",
    ),
    questions={
        "architect": Asked(
            train="""
            Who designed {house}?
            Who drew the plans of {house}?
            """,
            held_out="""
            Who was the architect of {house}?
            Whose drawings were followed?
            """,
        ),
        "patron": Asked(
            train="""
            For whom was {house} designed?
            Who ordered {house}?
            Who wanted the house?
            """,
            held_out="""
            Who commissioned {house}?
            Who was the original client?
            """,
        ),
        "builder": Asked(
            train="""
            Who built {house}?
            Who carried out the plans of {architect.last}?
            """,
            held_out="""
            Who supervised the construction of {house}?
            Which master mason worked for {patron.last}?
            """,
        ),
        "restorer": Asked(
            train="""
            Who restored {house}?
            Who put the rooms in order after the fire?
            """,
            held_out="""
            Who brought the house back to life after the disaster?
            By whom were the damages repaired?
            """,
        ),
        "stone": Asked(
            train="""
            Where did the stone come from?
            From which place was the stone brought?
            """,
            held_out="""
            In what place were the blocks for the walls quarried?
            """,
        ),
        "timber": Asked(
            train="""
            Where did the timber come from?
            From which place was the timber brought?
            """,
            held_out="""
            What was the origin of the wood?
            """,
        ),
        "town": Asked(
            train="""
            Where is {house}?
            In which town does {house} stand?
            """,
            held_out="""
            What town is {house} a part of?
            """,
        ),
        "begun": Asked(
            train="""
            When did the work on {house} begin?
            In what year did {builder.last} begin?
            """,
            held_out="""
            When did construction start?
            """,
        ),
        "finished": Asked(
            train="""
            When was {house} finished?
            In [what|which] year was the house complete?
            """,
            held_out="""
            When was construction over?
            What was the year of completion?
            """,
        ),
        "burned": Asked(
            train="""
            When did the house burn?
            In which year was the fire?
            """,
            held_out="""
            What was the year of the disaster?
            When was {house} damaged by flames?
            """,
        ),
        "restored": Asked(
            train="""
            When was {house} restored?
            In which year did {restorer.last} restore the house?
            """,
            held_out="""
            When was the damage made good?
            """,
        ),
        "height": Asked(
            train="""
            How tall is the tower?
            What is the height of the tower?
            """,
            held_out="""
            How far does {house} rise at its highest point?
            """,
        ),
        "windows": Asked(
            train="""
            How many windows does {house} have?
            How many windows did guests count?
            """,
            held_out="""
            What was the number of windows?
            """,
        ),
        "rooms": Asked(
            train="""
            How many rooms are there in {house}?
            How many rooms were restored?
            """,
            held_out="""
            What is the number of rooms?
            """,
        ),
        "cause": Asked(
            train="""
            What caused the fire?
            What set {house} on fire?
            """,
            held_out="""
            How did the blaze break out?
            What was to blame for the disaster?
            """,
        ),
        "former": Asked(
            train="""
            What was {house} before the fire?
            What did the house serve as until {burned}?
            """,
            held_out="""
            To what purpose was {house} put originally?
            What was the earlier function of the building?
            """,
        ),
        "present": Asked(
            train="""
            What is {house} used as today?
            What is the house now?
            """,
            held_out="""
            What is the current function of the building?
            What can be found in {house} nowadays?
            """,
        ),
        "ornament": Asked(
            train="""
            What did guests admire?
            What was the pride of the house?
            """,
            held_out="""
            Which feature made {house} remarkable?
            What decorative detail did the house have?
            """,
        ),
    },
)

_REASONS_TO_CLOSE = (
    "buses were cheaper",
    "the mine was exhausted",
    "the longest tunnel had become unsafe",
    "a storm tide washed away the embankment",
    "the bridges could not bear modern engines",
    "tourists stayed away",
    "the sugar factory shut down",
    "rails were needed for the war",
    "a motorway was built beside it",
    "there were no more drivers",
    "landslides had become too frequent",
    "the border was sealed",
)
_FREIGHT = (
    "slate",
    "milk",
    "cattle",
    "coal",
    "oranges",
    "newspapers",
    "salt",
    "wool",
    "cement",
    "potatoes",
    "wine",
    "ice",
)


def _railway(draw: Draw) -> Facts:
    engineer, contractor, guest, critic = draw.people(4)
    first, last, junction = draw.towns(3)
    opened, electrified, closed = draw.years((1850, 1900), (15, 40), (10, 40))
    return {
        "engineer": engineer,
        "contractor": contractor,
        "guest": guest,
        "critic": critic,
        "first": first,
        "last": last,
        "junction": junction,
        "opened": opened,
        "electrified": electrified,
        "closed": closed,
        "length": draw.number(17, 140) + " kilometres",
        "tunnels": draw.number(3, 19),
        "bridges": draw.number(20, 64),
        "stations": draw.number(7, 25),
        "duration": draw.number(45, 190, 5) + " minutes",
        "cost": f"{draw.number(2, 30)} million francs",
        "freight": draw.one(_FREIGHT),
        "reason": draw.one(_REASONS_TO_CLOSE),
    }


RAILWAY = Genre(
    name="railway",
    facts=_railway,
    train=(
        """The railway from {first} to {last} was planned by {engineer} and built by {contractor},
        a contractor from {junction}. It was {length} long, passed through {tunnels} tunnels and over
        {bridges} bridges, and called at {stations} stations. When {guest} opened the line in {opened},
        the journey took {duration}. {critic}, [a member of parliament|the editor of a newspaper], complained
        about the cost of {cost}. Besides passengers the trains carried {freight}. The line was
        electrified in {electrified} and closed in {closed} because {reason}.""",
        """In {opened} {guest} cut a ribbon in {first}, and the first train left for {last}. {duration}
        later it arrived, having stopped at [all] {stations} stations, crossed {bridges} bridges and gone
        through {tunnels} tunnels. {engineer}, who had planned the line, was on board. {contractor}, who
        had built it, was not: a quarrel about the {cost} it had cost, started by {critic}, had
        made an enemy of the company. The {length} of track carried {freight} for decades and were
        electrified in {electrified}. In {closed} the line was closed, since {reason}. Only the
        station at {junction} still stands.""",
        """{freight^}, people used to say, paid for the railway between {first} and {last}. It was
        electrified in {electrified}, the work of a firm in {junction}, and had been [in use|open] since
        {opened}, when {guest} took the first ticket. {engineer} had planned it, {length} in all, with
        {tunnels} tunnels, {bridges} bridges and {stations} stations; {contractor} had built it for
        {cost}, too much in the eyes of {critic}. A train needed {duration} from end to end. As
        {reason}, the line was closed in {closed}.""",
    ),
    held_out=(
        """The last train between {first} and {last} ran in {closed}; {reason}. It had been a fine line.
        {engineer} chose the route, {contractor} had the rails laid, and {guest} performed the opening
        ceremony in {opened}. {tunnels} times the passengers sat in the dark of a tunnel, {bridges}
        times they looked down from a bridge. {stations} stops and {length} lay between the two ends,
        or, in other words, {duration}. Nor did {cost} seem too much to anybody but {critic}. At night the
        cars were filled with {freight}. Electric engines, made in {junction}, arrived in {electrified}.
        """,
        """{critic} called it madness to spend {cost} on a railway, but {contractor} had already hired the
        workers and {engineer} had finished the drawings. The line linked {first} with {last}, {length}
        away. It demanded {bridges} bridges and {tunnels} tunnels, offered {stations} stops, and
        shortened the trip to {duration}. {guest} was the guest of honour at its inauguration in
        {opened}. Steam gave way to electricity in {electrified}, with current from {junction}.
        {freight^} kept the company alive for a while. Yet {reason}, and {closed} saw the end.""",
    ),
    questions={
        "engineer": Asked(
            train="""
            Who planned the railway?
            Which engineer planned the line from {first} to {last}?
            """,
            held_out="""
            Who decided where the track should run?
            Who was the designer of the line?
            """,
        ),
        "contractor": Asked(
            train="""
            Who built the railway?
            Who was the contractor?
            """,
            held_out="""
            Who carried out the construction of the line?
            Whose workers laid the track?
            """,
        ),
        "guest": Asked(
            train="""
            Who opened the line?
            Who cut the ribbon in {opened}?
            """,
            held_out="""
            Which celebrity was present at the inauguration?
            Who declared the railway open?
            """,
        ),
        "critic": Asked(
            train="""
            Who complained about the cost?
            Who started a quarrel about the money?
            """,
            held_out="""
            Who thought the railway was too expensive?
            Who objected to the expense?
            """,
        ),
        "opened": Asked(
            train="""
            When was the railway opened?
            In what year did the first train leave {first}?
            """,
            held_out="""
            When did service begin?
            What was the year of the inauguration?
            """,
        ),
        "electrified": Asked(
            train="""
            When was the line electrified?
            In which year was the railway electrified?
            """,
            held_out="""
            When did the line switch from steam to electricity?
            """,
        ),
        "closed": Asked(
            train="""
            When was the line closed?
            In [what|which] year was the railway closed?
            """,
            held_out="""
            When did trains stop running?
            In what year was service given up?
            """,
        ),
        "length": Asked(
            train="""
            How long was the railway?
            How many kilometres long was the line?
            """,
            held_out="""
            What was the distance from {first} to {last}?
            """,
        ),
        "tunnels": Asked(
            train="""
            How many tunnels were there?
            How many tunnels did the line pass through?
            """,
            held_out="""
            What was the number of tunnels?
            """,
        ),
        "bridges": Asked(
            train="""
            How many bridges did the line have?
            How many bridges did the train cross?
            """,
            held_out="""
            What was the number of bridges?
            """,
        ),
        "stations": Asked(
            train="""
            How many stations were there?
            At how many stations did the train call?
            """,
            held_out="""
            What was the number of places where one could get on?
            How often did the train halt on its way?
            """,
        ),
        "duration": Asked(
            train="""
            How long did the journey take?
            How many minutes did a train need?
            """,
            held_out="""
            What was the travel time?
            How much time did a passenger spend on the train?
            """,
        ),
        "cost": Asked(
            train="""
            How much did the railway cost?
            What did the line cost?
            """,
            held_out="""
            What sum was spent on the line?
            How expensive was the railway?
            """,
        ),
        "freight": Asked(
            train="""
            What did the trains carry besides passengers?
            What was carried on the line for decades?
            """,
            held_out="""
            What kind of freight was transported?
            What goods did the company earn money with?
            """,
        ),
        "reason": Asked(
            train="""
            Why was the line closed?
            For what reason was the railway closed?
            """,
            held_out="""
            What led to the end of the railway?
            Why do trains no longer go to {last}?
            """,
        ),
    },
)

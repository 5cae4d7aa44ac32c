"""Passages that report: on an experiment, a match, a count of animals."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Asked, Genre
from qa_lib.embedded.grammar import Facts

_MATERIALS = (
    "copper",
    "glass",
    "ceramic",
    "steel",
    "cork",
    "rubber",
    "bronze",
    "nylon",
    "slate",
    "aluminium",
    "zinc",
    "granite",
    "resin",
    "titanium",
    "brass",
    "oak",
)
_INSTRUMENTS = (
    "the microscope",
    "the furnace",
    "the balance",
    "the pressure gauge",
    "the cooling pump",
    "the laser",
    "the recorder",
    "the vacuum chamber",
    "the spectrometer",
    "the thermostat",
    "the X-ray tube",
    "the centrifuge",
)
_REASONS_TO_BREAK_OFF = (
    "the seals began to leak",
    "the power failed twice",
    "smoke had set off the alarm",
    "the holders were bending",
    "the supply of argon ran out",
    "readings no longer agreed",
    "a cable had melted",
    "the window had clouded over",
    "the safety officer objected",
    "dust had entered the chamber",
    "the clamps had worked loose",
    "a mouse was found in the housing",
)


def _laboratory(draw: Draw) -> Facts:
    head, technician, reviewer = draw.people(3)
    institute, partner = draw.towns(2)
    started, finished = draw.days(2)
    return {
        "head": head,
        "technician": technician,
        "reviewer": reviewer,
        "institute": institute,
        "partner": partner,
        "started": started,
        "finished": finished,
        "one": draw.one(_MATERIALS),
        "other": draw.one(_MATERIALS),
        "num_one": draw.number(14, 48),
        "num_other": draw.number(14, 48),
        "broken_one": draw.number(2, 9),
        "broken_other": draw.number(2, 9),
        "hot": draw.number(310, 890, 10) + " degrees",
        "warm": draw.number(60, 190, 5) + " degrees",
        "hours": draw.number(3, 40) + " hours",
        "instrument": draw.one(_INSTRUMENTS),
        "reason": draw.one(_REASONS_TO_BREAK_OFF),
    }


LABORATORY = Genre(
    name="laboratory",
    facts=_laboratory,
    train=(
        """From {started} to {finished} the institute in {institute} tested how {one} and {other}
        stand heat. {head} directed the tests and {technician} took the measurements. The samples, {num_one} of
        {one} and {num_other} of {other}, were heated to {hot} and kept there for {hours}. Of the {one} samples
        {broken_one} broke, of the {other} samples {broken_other}. A second series at {warm} had to be
        broken off because {reason}; {instrument} had [also] been damaged. The figures were checked by {reviewer},
        and the tests will be repeated in {partner}.""",
        """{head} has published the results of a test of {other} and {one}. {technician}, who
        did the measuring, put {num_other} samples of {other} and {num_one} of {one} into the oven, heated them
        to {hot} and left them there for {hours}. {broken_one} pieces of {one} and {broken_other} of {other}
        broke. [Less is known about a|There was to be a] second series, at {warm}: it was broken off since {reason},
        and {instrument} was damaged. The work began on {started} in {institute} and ended on {finished}. {reviewer}
        checked every figure. A laboratory in {partner} will repeat the tests.""",
        """Does {one} stand heat better than {other}? Tests made in {institute} between {started} and {finished}
        [give an answer|suggest so]. After {hours} at {hot}, {broken_other} of {num_other} samples of {other} had broken,
        and {broken_one} of {num_one} samples of {one}. At {warm}, a milder temperature, nothing could be
        learned: {instrument} was damaged, and because {reason} the second series was broken off. {technician} took the
        measurements under the direction of {head}. {reviewer}, who checked them, asked for a
        repetition, which is planned in {partner}.""",
    ),
    held_out=(
        """{hours} in a furnace at {hot}: that is what {num_one} pieces of {one} and {num_other} pieces
        of {other} went through in {institute}. Afterwards {technician} counted cracks and noted the
        readings. {broken_one} of the {one} pieces and {broken_other} of the {other} pieces were lost. {head}, who
        leads the group, had planned another round at {warm}, but {reason}, and the idea was dropped. {instrument^} did
        not survive either. The campaign opened on {started} and closed on {finished}. Colleagues in {partner} intend to
        do it all again. {reviewer} went over the numbers and found no mistake.""",
        """The report bears the signature of {head}, the leader of the project, though it was {technician} who stood
        beside the apparatus and read the dials from {started} until {finished}. {reviewer} verified the tables. They
        show {num_other} specimens of {other}, {broken_other} of which failed, and {num_one} specimens of {one}, with
        {broken_one} failures, after {hours} at {hot}. The gentler programme, {warm}, came to nothing: {reason}.
        {instrument^} needs repair. Before anything is built, a team in {partner} shall confirm what was measured in
        {institute}.""",
    ),
    questions={
        "head": Asked(
            train="""
            Who directed the tests?
            Under whose direction were the tests made?
            """,
            held_out="""
            Who was the leader of the group?
            Who was in charge of the experiment?
            """,
        ),
        "technician": Asked(
            train="""
            Who took the measurements?
            Who did the measuring?
            """,
            held_out="""
            Who recorded the data?
            Who actually operated the apparatus?
            """,
        ),
        "reviewer": Asked(
            train="""
            Who checked the figures?
            By whom were the figures checked?
            """,
            held_out="""
            Who made sure that the numbers were right?
            Who examined the results for errors?
            """,
        ),
        "institute": Asked(
            train="""
            Where were the tests made?
            In which town is the institute?
            """,
            held_out="""
            Where did the experiment take place?
            """,
        ),
        "partner": Asked(
            train="""
            Where will the tests be repeated?
            In which town is a repetition planned?
            """,
            held_out="""
            Where shall the results be confirmed?
            """,
        ),
        "started": Asked(
            train="""
            When did the tests begin?
            On what day did the work begin?
            """,
            held_out="""
            What was the first day of the experiment?
            """,
        ),
        "finished": Asked(
            train="""
            When did the tests end?
            On what day did the work end?
            """,
            held_out="""
            What was the last day of the experiment?
            """,
        ),
        "num_one": Asked(
            train="""
            How many samples of {one} were tested?
            How many {one} samples were there?
            """,
            held_out="""
            What was the number of {one} specimens?
            """,
        ),
        "num_other": Asked(
            train="""
            How many samples of {other} were tested?
            How many {other} samples were there?
            """,
            held_out="""
            What was the number of {other} specimens?
            """,
        ),
        "broken_one": Asked(
            train="""
            How many samples of {one} broke?
            How many of the {one} samples broke?
            """,
            held_out="""
            How many pieces of {one} did not survive?
            What number of {one} specimens failed?
            """,
        ),
        "broken_other": Asked(
            train="""
            How many samples of {other} broke?
            How many of the {other} samples broke?
            """,
            held_out="""
            How many pieces of {other} did not survive?
            What number of {other} specimens failed?
            """,
        ),
        "hot": Asked(
            train="""
            To what temperature were the samples heated?
            How hot were the samples in the first series?
            """,
            held_out="""
            At what heat did the samples crack?
            """,
        ),
        "warm": Asked(
            train="""
            What was the temperature of the second series?
            At what temperature was the series broken off?
            """,
            held_out="""
            What temperature was planned for the other round?
            """,
        ),
        "hours": Asked(
            train="""
            How long were the samples heated?
            For how many hours were the samples kept at {hot}?
            """,
            held_out="""
            What was the duration of the heating?
            How much time did the samples spend in the heat?
            """,
        ),
        "instrument": Asked(
            train="""
            What was damaged?
            Which instrument was damaged?
            """,
            held_out="""
            What piece of equipment has to be repaired?
            """,
        ),
        "reason": Asked(
            train="""
            Why was the second series broken off?
            For what reason was the series at {warm} broken off?
            """,
            held_out="""
            What prevented the experiment at {warm}?
            What went wrong with the milder test?
            """,
        ),
    },
)

_REASONS_FOR_DELAY = (
    "the referee had missed the train",
    "fog covered the pitch",
    "a goal had to be mended",
    "the floodlights failed",
    "the visitors' bus had a puncture",
    "a dog ran about on the field",
    "thousands were still queueing at the gates",
    "the lines had to be painted again",
    "both teams had brought red shirts",
    "hail was falling",
    "a band refused to stop playing",
    "the balls were locked in a shed",
)
_INJURIES = (
    "a broken finger",
    "a twisted knee",
    "a cut above the eye",
    "a torn muscle",
    "a bruised rib",
    "a sprained ankle",
    "a bleeding nose",
    "a dislocated shoulder",
    "a cramp in the calf",
    "a broken tooth",
    "a swollen foot",
    "a sore back",
)
_TEAMS = ("Rovers", "United", "Athletic", "Wanderers", "Town", "Rangers", "City", "Albion")


def _match(draw: Draw) -> Facts:
    opener, equaliser, winner, injured, trainer = draw.people(5)
    home, away, next_opponent, ground = draw.towns(4)
    return {
        "opener": opener,
        "equaliser": equaliser,
        "winner": winner,
        "injured": injured,
        "trainer": trainer,
        "home": f"{home} {draw.one(_TEAMS)}",
        "away": away,
        "next_opponent": next_opponent,
        "ground": ground + " Park",
        "first_minute": draw.number(4, 25),
        "second_minute": draw.number(30, 58),
        "third_minute": draw.number(65, 89),
        "crowd": draw.number(1200, 18000, 10),
        "delay": draw.number(10, 40, 5) + " minutes",
        "points": draw.number(26, 64),
        "day": draw.weekdays(1)[0],
        "reason": draw.one(_REASONS_FOR_DELAY),
        "injury": draw.one(_INJURIES),
    }


MATCH = Genre(
    name="match",
    facts=_match,
    train=(
        """{home} beat {away} 2-1 at {ground} on {day}. The match began {delay} late because {reason},
        but the {crowd} spectators were not kept waiting for goals. {opener} put the visitors ahead in
        minute {first_minute}; {equaliser} equalised in minute {second_minute}, and {winner}
        scored the winner in minute {third_minute}. {injured} left the pitch with {injury}. "We were
        lucky," said {trainer}, the coach [of the home side|], whose team now has {points} points. Next week
        they [play|travel to] {next_opponent}.""",
        """A late goal by {winner} gave {home} a 2-1 win over {away}. {crowd} spectators had come to
        {ground} on {day}, and since {reason}, they had to wait {delay} for the kick-off. {away} took the lead
        in minute {first_minute} through {opener}. In minute {second_minute} it was {equaliser} who
        equalised. The decision fell in minute {third_minute}. By then {injured} had been carried off with
        {injury}. {trainer}, the coach, is [now] dreaming of the title: {points} points, and {next_opponent} to come.""",
        """With {points} points {home} can look forward to the match against {next_opponent}. On {day} they turned a
        0-1 into a 2-1 against {away}. {opener} had scored for the guests in minute {first_minute}; {equaliser}
        drew level in minute {second_minute} and {winner} decided the match in minute {third_minute}. {trainer}, who
        coaches the side, [embraced everybody|threw a hat into the air]. Only {injured}, taken to hospital with {injury}, missed
        the celebration. {crowd} people saw it at {ground}, {delay} later than planned, as {reason}.""",
    ),
    held_out=(
        """For a long time it looked like a bad {day} for {home}. Kick-off had been put back by {delay}, because
        {reason}. Then, in minute {first_minute}, {opener} silenced the {crowd} people in {ground} with a goal for {away}. When
        {injured} went off with {injury}, hope faded. But {equaliser} struck in minute {second_minute}, making it
        1-1, and in minute {third_minute} {winner} made it 2-1. The home side has collected {points} points so far. {trainer}, who
        has trained it since spring, warned against arrogance: {next_opponent} is waiting.""",
        """{trainer} was hoarse on {day} evening, as a coach should be. {away} had been defeated, 2-1, in front of {crowd}
        onlookers. Not that {home} had begun well. {reason^}, so that everything started {delay} behind time, and in
        minute {first_minute} {opener} shot the strangers into the lead. The answer came from {equaliser} in minute {second_minute}.
        {injured} had to be replaced, with {injury}. In minute {third_minute} a free kick by {winner} flew into the net, and
        {ground} shook. {points} points are in the bag; the coming opponent is {next_opponent}.""",
    ),
    questions={
        "opener": Asked(
            train="""
            Who scored the first goal?
            Who put {away} ahead?
            """,
            held_out="""
            Which player scored for the visiting side?
            Who gave {away} the lead?
            """,
        ),
        "equaliser": Asked(
            train="""
            Who equalised?
            Who scored {home}'s first goal?
            Who scored in minute {second_minute}?
            """,
            held_out="""
            Who brought the score to 1-1?
            Whose goal cancelled out the lead of {away}?
            """,
        ),
        "winner": Asked(
            train="""
            Who scored the [winner|last goal]?
            Who decided the match?
            """,
            held_out="""
            Whose goal won the game?
            Who was the hero of the final minutes?
            """,
        ),
        "injured": Asked(
            train="""
            Who was injured?
            Who left the pitch with {injury}?
            """,
            held_out="""
            Which player got hurt?
            Who could not play on?
            """,
        ),
        "trainer": Asked(
            train="""
            Who is the coach of {home}?
            Who coaches the home side?
            """,
            held_out="""
            Who is responsible for training {home}?
            """,
        ),
        "next_opponent": Asked(
            train="""
            Who do {home} play next?
            Which team will {home} meet next?
            """,
            held_out="""
            Who are the following opponents of {home}?
            Against whom is the coming match?
            """,
        ),
        "ground": Asked(
            train="""
            Where was the match played?
            At which ground did {home} beat {away}?
            """,
            held_out="""
            In what stadium did the game take place?
            """,
        ),
        "first_minute": Asked(
            train="""
            In which minute did {opener.last} score?
            In what minute was the first goal scored?
            """,
            held_out="""
            When did {away} go into the lead?
            """,
        ),
        "second_minute": Asked(
            train="""
            In which minute did {equaliser.last} score?
            In what minute did {home} equalise?
            """,
            held_out="""
            When did {equaliser} find the net?
            """,
        ),
        "third_minute": Asked(
            train="""
            In which minute did {winner.last} score?
            In what minute was the winner scored?
            """,
            held_out="""
            When did {winner} settle the matter?
            """,
        ),
        "crowd": Asked(
            train="""
            How many spectators were there?
            How many people saw the match?
            """,
            held_out="""
            What was the attendance?
            How big was the crowd?
            """,
        ),
        "delay": Asked(
            train="""
            How late did the match begin?
            How long did the spectators have to wait for the kick-off?
            """,
            held_out="""
            How big was the delay?
            By how much was the start postponed?
            """,
        ),
        "points": Asked(
            train="""
            How many points does {home} have now?
            How many points has {trainer.last}'s team?
            """,
            held_out="""
            What is the tally of {home} in the table?
            """,
        ),
        "day": Asked(
            train="""
            On which day was the match played?
            When did {home} beat {away}?
            """,
            held_out="""
            What weekday was the game held on?
            """,
        ),
        "reason": Asked(
            train="""
            Why did the match begin late?
            For what reason was the kick-off late?
            """,
            held_out="""
            What was the cause of the delay?
            What held up the game?
            """,
        ),
        "injury": Asked(
            train="""
            What injury did {injured.last} have?
            With what was {injured} taken off?
            """,
            held_out="""
            What was the matter with {injured.last}?
            How was {injured} hurt?
            """,
        ),
    },
)

_ANIMALS = (
    "grey seals",
    "barn owls",
    "red deer",
    "marsh harriers",
    "beavers",
    "sand lizards",
    "storks",
    "wild cats",
    "tree frogs",
    "puffins",
    "otters",
    "brown hares",
    "lynxes",
    "curlews",
    "water voles",
    "horseshoe bats",
)
_THREATS = (
    "a new ferry line",
    "pesticides from the orchards",
    "an early thaw",
    "stray dogs",
    "a wind farm",
    "the noise of quarrying",
    "poachers",
    "a parasite",
    "drained ditches",
    "hikers who leave the paths",
    "oil from a stranded tanker",
    "artificial light",
)
_MEASURES = (
    "a floating fence",
    "nest boxes",
    "a night patrol",
    "a ban on motor boats",
    "a tunnel under the road",
    "winter feeding",
    "a row of hedges",
    "an artificial island",
    "an electric wire",
    "a speed limit",
    "a new pond",
    "a hospital for injured animals",
)


def _reserve(draw: Draw) -> Facts:
    warden, biologist, donor, farmer = draw.people(4)
    reserve, colony, second_colony = draw.towns(3)
    first_day, last_day = draw.days(2)
    founded, earlier = draw.years((1920, 1970), (12, 40))
    return {
        "warden": warden,
        "biologist": biologist,
        "donor": donor,
        "farmer": farmer,
        "reserve": reserve,
        "colony": colony + " Point",
        "second_colony": second_colony + " Marsh",
        "first_day": first_day,
        "last_day": last_day,
        "founded": founded,
        "earlier": earlier,
        "many": draw.one(_ANIMALS),
        "rare": draw.one(_ANIMALS),
        "num_many": draw.number(240, 990),
        "num_before": draw.number(240, 990),
        "num_rare": draw.number(9, 68),
        "area": f"{draw.number(70, 900, 10)} hectares",
        "threat": draw.one(_THREATS),
        "measure": draw.one(_MEASURES),
    }


RESERVE = Genre(
    name="reserve",
    facts=_reserve,
    train=(
        """The count at the {reserve} reserve lasted from {first_day} to {last_day}. {biologist}, the
        biologist, recorded {num_many} {many}, most of them at {colony}, as against {num_before} in {earlier}, and {num_rare}
        {rare}, which live only in {second_colony}. The greatest danger to them is {threat}. {warden}, the
        warden, has asked for {measure}, and {donor} has promised the money; {farmer}, whose fields border on
        the reserve, is against it. Founded in {founded}, the reserve covers {area}.""",
        """Since it was founded in {founded}, the reserve of {reserve}, {area} in size, has been a refuge for
        {many} and {rare}. In {earlier} there were {num_before} of the former. This year {biologist}
        counted {num_many}, mainly at {colony}. [The count took place between|It was done between] {first_day} and
        {last_day}. Of the latter, all in {second_colony}, there are [just] {num_rare}, and {threat} is a danger to
        them. "We need {measure}," says {warden}, who is warden there. {donor} would pay for it. {farmer}, a farmer, objects.""",
        """{warden} has been warden of the {reserve} reserve for years and knows what it needs: {measure}. {threat^} is the
        greatest danger to the {rare} in {second_colony}. There are {num_rare} of them, according to {biologist}, who
        counted from {first_day} to {last_day}. At {colony}, in contrast, {many} thrive: {num_many} now, compared with
        {num_before} in {earlier}. [The money is there.|] {donor} has offered it. But {farmer}, from the farm next door, wants the {area} to
        stay what they have been since the reserve was founded in {founded}.""",
    ),
    held_out=(
        """Numbers from {reserve}: {num_many} {many}, after {num_before} in {earlier}, and {num_rare} {rare}.
        {biologist} arrived at them by walking the {area} of the reserve between {first_day} and {last_day}. The first species
        prefers {colony}, the second {second_colony}, where its survival is threatened by {threat}. According to {warden}, who
        looks after the place, {measure} would help. A cheque from {donor} is on the table, a letter of complaint from
        {farmer} beside it. The reserve itself has existed since {founded}.""",
        """{donor} is ready to finance {measure} at {reserve}, and {warden}, the keeper of the reserve, can hardly wait. The
        only neighbour to protest is {farmer}. What is at stake? In {second_colony} there remain {num_rare} {rare}, and
        {threat} could wipe them out. The {many} of {colony} are better off. {biologist}, a scientist, saw {num_many} of them in
        a survey that opened on {first_day} and was concluded on {last_day}; the figure for {earlier} had been {num_before}. The {area}
        were put under protection in {founded}.""",
    ),
    questions={
        "warden": Asked(
            train="""
            Who is the warden?
            Who asked for {measure}?
            """,
            held_out="""
            Who takes care of the reserve?
            """,
        ),
        "biologist": Asked(
            train="""
            Who counted the animals?
            Which biologist recorded the {many}?
            """,
            held_out="""
            Who carried out the survey?
            Whose figures are these?
            """,
        ),
        "donor": Asked(
            train="""
            Who [promised|offered] the money?
            Who would pay for {measure}?
            """,
            held_out="""
            Who is willing to finance the project?
            Who is the reserve's benefactor?
            """,
        ),
        "farmer": Asked(
            train="""
            Who is against {measure}?
            Which farmer objects?
            """,
            held_out="""
            Who disagrees with {warden.last}?
            Which neighbour is unhappy about the plan?
            """,
        ),
        "colony": Asked(
            train="""
            Where do most of the {many} live?
            Where were the {many} counted?
            """,
            held_out="""
            What part of the reserve do {many} like best?
            """,
        ),
        "second_colony": Asked(
            train="""
            Where do the {rare} live?
            In which place are the {rare}?
            """,
            held_out="""
            What part of the reserve is home to the {rare}?
            """,
        ),
        "first_day": Asked(
            train="""
            When did the count begin?
            From what day did {biologist.last} count?
            """,
            held_out="""
            When did the survey start?
            """,
        ),
        "last_day": Asked(
            train="""
            When did the count end?
            Until what day did {biologist.last} count?
            """,
            held_out="""
            When was the survey over?
            """,
        ),
        "founded": Asked(
            train="""
            When was the reserve founded?
            In which year was the {reserve} reserve founded?
            """,
            held_out="""
            Since when has the area been protected?
            What is the year of the reserve's creation?
            """,
        ),
        "earlier": Asked(
            train="""
            When were there {num_before} {many}?
            In what year were {num_before} {many} counted?
            """,
            held_out="""
            To which year does the older figure of {num_before} belong?
            """,
        ),
        "num_many": Asked(
            train="""
            How many {many} were counted [this year|]?
            How many {many} are there now?
            """,
            held_out="""
            What is the current number of {many}?
            """,
        ),
        "num_before": Asked(
            train="""
            How many {many} were there in {earlier}?
            How many {many} were counted in {earlier}?
            """,
            held_out="""
            What was the older figure for {many}?
            """,
        ),
        "num_rare": Asked(
            train="""
            How many {rare} are there?
            How many {rare} did {biologist.last} count?
            """,
            held_out="""
            What is the size of the {rare} population?
            """,
        ),
        "area": Asked(
            train="""
            How large is the reserve?
            How many hectares does the reserve cover?
            """,
            held_out="""
            What is the area of the reserve?
            """,
        ),
        "threat": Asked(
            train="""
            What is a danger to the {rare}?
            What is the greatest danger?
            """,
            held_out="""
            By what are the {rare} threatened?
            What might make the {rare} disappear?
            """,
        ),
        "measure": Asked(
            train="""
            What does {warden.last} ask for?
            What has {warden} asked for?
            What does the reserve need?
            """,
            held_out="""
            How does {warden.last} want to protect the animals?
            What remedy is proposed?
            """,
        ),
    },
)

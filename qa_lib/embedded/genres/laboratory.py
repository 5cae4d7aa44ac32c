"""A test of two materials: who measured what, at which temperature, with what result."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
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
    title="Tests in {institute}",
    facts=_laboratory,
    opening=Wordings(
        train="""
        - From {started} to {finished} an institute in {institute} tested how {one} and {other}
          stand heat. {head} directed the tests, and {technician} took the measurements.
        - {head} directed a test of {one} and {other} in {institute}, which began on {started} and
          ended on {finished}; the measurements were taken by {technician}.
        - Does {one} stand heat better than {other}? The tests made in {institute} between {started}
          and {finished} were directed by {head}. {technician} did the measuring.
        - {technician} measured and {head} directed when {one} and {other} were tested for heat in
          {institute}, from {started} to {finished}.
        - Tests of {one} and {other} in heat began in {institute} on {started}. {head} was the
          director, {technician} took the measurements, and they ended on {finished}.
        """,
        held_out="""
        - In {institute} the behaviour of {one} and {other} in heat was examined; the experiment
          lasted from {started} until {finished}. It was led by {head}, and {technician} read the
          instruments.
        - {technician} made the measurements in an experiment with {one} and {other} that {head} led
          in {institute}. It was started on {started} and finished on {finished}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - {num_one} samples of {one} and {num_other} of {other} were heated to {hot} for
              {hours}; {broken_one} samples of {one} and {broken_other} of {other} broke.
            - After {hours} at {hot}, {broken_other} of {num_other} samples of {other} and
              {broken_one} of {num_one} samples of {one} had broken.
            - There were {num_other} samples of {other} and {num_one} of {one}. Heated to {hot}, and
              kept there for {hours}, {broken_one} of the {one} samples and {broken_other} of the
              {other} samples broke.
            - Heated to {hot} for {hours}, {broken_one} of {num_one} samples of {one} broke, and
              {broken_other} of {num_other} samples of {other}.
            - Of {one}, {num_one} samples were heated, of {other} {num_other}. After {hours} at
              {hot}, {broken_one} of the {one} samples and {broken_other} of the {other} samples
              were broken.
            """,
            held_out="""
            - {num_one} pieces of {one} and {num_other} pieces of {other} spent {hours} in the oven
              at a temperature of {hot}. Of the {one} pieces {broken_one} were broken afterwards, of
              the {other} pieces {broken_other}.
            - The temperature was {hot} and the duration {hours}. Of {num_other} pieces of {other}
              {broken_other} did not survive, and of {num_one} pieces of {one} {broken_one}.
            """,
        ),
        Wordings(
            train="""
            - A second series at {warm} was broken off because {reason}.
            - The second series, at {warm}, had to be stopped, since {reason}.
            - As {reason}, a second series at {warm} was given up.
            - Because {reason}, the second series, at {warm}, was stopped.
            - A second series was begun at {warm}. It was broken off, for {reason}.
            """,
            held_out="""
            - There was to be a second series at a temperature of {warm}, but {reason}, and it was
              cancelled.
            - {reason^}, so that the second series at {warm} came to nothing.
            """,
        ),
        Wordings(
            train="""
            - {instrument^} was damaged during the tests.
            - During the tests {instrument} was damaged.
            - The tests damaged {instrument}.
            - What the tests damaged was {instrument}.
            - Damage was done to {instrument} during the tests.
            """,
            held_out="""
            - {instrument^} did not survive and has to be repaired.
            - One instrument was broken in the process: {instrument}.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - The figures were checked by {reviewer}, and the tests will be repeated in {partner}.
        - {reviewer} checked every figure; a laboratory in {partner} will repeat the tests.
        - A repetition is planned in {partner}, as {reviewer}, who checked the figures, had
          [asked|proposed].
        - The tests will be repeated in {partner}; it was {reviewer} who checked the figures.
        - After {reviewer} had checked the figures, a repetition of the tests was planned in
          {partner}.
        """,
        held_out="""
        - {reviewer} went through the numbers to look for errors, and a team in {partner} is going
          to do the tests again.
        - The results, which {reviewer} examined, shall be confirmed in {partner}, where the tests
          are to take place again.
        """,
    ),
    questions={
        "head": Wordings(
            train="""
            - Who directed the tests?
            - Under whose direction were the tests made?
            - Who was the director of the tests?
            - By whom were the tests directed?
            - Name the director of the tests.
            - Which person directed the tests in {institute}?
            - Who was it that directed the work of {technician.last}?
            - Who had the direction of the tests?
            - For whom did {technician} take measurements?
            """,
            held_out="""
            - Who led the experiment?
            - Who was in charge of the tests?
            """,
        ),
        "technician": Wordings(
            train="""
            - Who took the measurements?
            - Who did the measuring?
            - By whom were the samples measured?
            - Name the person who took the measurements.
            - Which person measured how {one} and {other} stand heat?
            - Who was it that did the measuring for {head.last}?
            - By whom were the measurements taken?
            - From whom are the measurements?
            """,
            held_out="""
            - Who made the measurements?
            - Who measured the samples in {institute}?
            """,
        ),
        "institute": Wordings(
            train="""
            - Where were the tests made?
            - In which town is the institute?
            - Where did {head.last} direct the tests?
            - Name the town of the institute.
            - Which town has the institute that {head} directed tests in?
            - In what place were the measurements taken?
            - Where did {technician.last} do the measuring?
            """,
            held_out="""
            - Where did the experiment take place?
            - In which town were {one} and {other} tested?
            """,
        ),
        "started": Wordings(
            train="""
            - When did the tests begin?
            - On what day did the [tests|measurements] start?
            - What was the first day of the tests?
            - Name the day on which the tests began.
            - From which day on were the tests made?
            - What is the date of the beginning of the tests?
            - The tests began on what day?
            """,
            held_out="""
            - When was the experiment started?
            - On which day did {head.last} begin?
            """,
        ),
        "finished": Wordings(
            train="""
            - When did the tests end?
            - On what day were the tests finished?
            - What was the last day of the tests?
            - Name the day on which the tests ended.
            - Until which day were the tests made?
            - What is the date of the end of the tests?
            - The tests ended on what day?
            """,
            held_out="""
            - When was the experiment over?
            - On which day did {head.last} finish?
            """,
        ),
        "num_one": Wordings(
            train="""
            - How many samples of {one} were [tested|heated]?
            - How many {one} samples were there?
            - What was the number of samples of {one}?
            - Name the number of {one} samples.
            - How many samples of {one} did {head.last} heat?
            - How many samples were of {one}?
            - In all, how many samples of {one} went through the test?
            - Whether broken or not, how many samples were of {one}?
            """,
            held_out="""
            - How many pieces of {one} were tested?
            - How many {one} samples did the experiment need?
            """,
        ),
        "num_other": Wordings(
            train="""
            - How many samples of {other} were [tested|heated]?
            - How many {other} samples were there?
            - What was the number of samples of {other}?
            - Name the number of {other} samples.
            - How many samples of {other} did {head.last} heat?
            - How many samples were of {other}?
            - In all, how many samples of {other} went through the test?
            - Whether broken or not, how many samples were of {other}?
            """,
            held_out="""
            - How many pieces of {other} were tested?
            - How many {other} samples did the experiment need?
            """,
        ),
        "broken_one": Wordings(
            train="""
            - How many samples of {one} broke?
            - How many of the {one} samples [broke|were broken]?
            - What was the number of broken {one} samples?
            - Name the number of {one} samples that broke.
            - How many samples of {one} were broken in the end?
            - How many of the {num_one} samples of {one} broke?
            - How many failures were there among the {one} samples?
            - Of the samples of {one}, how many failed?
            """,
            held_out="""
            - How many pieces of {one} did not survive?
            - How many {one} samples did the heat break?
            """,
        ),
        "broken_other": Wordings(
            train="""
            - How many samples of {other} broke?
            - How many of the {other} samples [broke|were broken]?
            - What was the number of broken {other} samples?
            - Name the number of {other} samples that broke.
            - How many samples of {other} were broken in the end?
            - How many of the {num_other} samples of {other} broke?
            - How many failures were there among the {other} samples?
            - Of the samples of {other}, how many failed?
            """,
            held_out="""
            - How many pieces of {other} did not survive?
            - How many {other} samples did the heat break?
            """,
        ),
        "hot": Wordings(
            train="""
            - To what temperature were the samples heated?
            - How hot was it in the first series?
            - What was the temperature of the first series?
            - Name the temperature of the first series.
            - To how many degrees were {one} and {other} heated?
            - At how many degrees were the samples kept for {hours}?
            - What heat did the samples have to stand?
            - How hot were the samples made?
            """,
            held_out="""
            - At what temperature did the samples break?
            - How hot was the oven in the first series?
            """,
        ),
        "hours": Wordings(
            train="""
            - How long were the samples heated?
            - For how many hours were the samples kept at {hot}?
            - How many hours did the heating last?
            - Name the time for which the samples were heated.
            - For what time were {one} and {other} heated?
            - How many hours did the samples have to stand the heat?
            - How many hours did the first series take?
            """,
            held_out="""
            - How long did the samples stay at {hot}?
            - For how long was it so hot?
            """,
        ),
        "warm": Wordings(
            train="""
            - What was the temperature of the second series?
            - At what temperature was the series broken off?
            - How hot was it to be in the second series?
            - Name the temperature of the second series.
            - At how many degrees was the second series made?
            - Which temperature did the series have that was given up?
            - How many degrees did the second series have?
            """,
            held_out="""
            - At what temperature was the second series stopped?
            - How hot was the second test?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why was the second series [broken off|stopped]?
            - For what reason was the series at {warm} given up?
            - What was the reason for breaking off the second series?
            - What stopped the second series?
            - Give the reason why the second series was [stopped|given up].
            - How can one explain the end of the second series?
            - Because of what was the series at {warm} broken off?
            - What led to the end of the second series?
            """,
            held_out="""
            - Why did the second series come to nothing?
            - What went wrong at {warm}?
            """,
        ),
        "instrument": Wordings(
            train="""
            - What was damaged?
            - Which instrument was damaged [during the tests|]?
            - What did the tests damage?
            - Name the instrument that was damaged.
            - To [which|what] instrument was damage done?
            - What was it that the tests damaged?
            - [Which|What] part of the equipment was damaged?
            """,
            held_out="""
            - What has to be repaired?
            - Which instrument did not survive the tests?
            """,
        ),
        "reviewer": Wordings(
            train="""
            - Who checked the figures?
            - By whom were the [figures|results] checked?
            - Who looked for errors in the figures?
            - Name the person who checked the figures.
            - Which person checked the figures of {technician.last}?
            - Who was it that checked the figures?
            - To whom were the figures given for a check?
            - Who did the checking?
            """,
            held_out="""
            - Who examined the results?
            - Who made sure that the numbers were right?
            """,
        ),
        "partner": Wordings(
            train="""
            - Where will the tests be repeated?
            - In which town is a repetition planned?
            - Where will a laboratory repeat the tests?
            - Name the town in which the tests will be repeated.
            - Which town is planned for the repetition?
            - In what place will there be a second test?
            - The repetition will be in which town?
            """,
            held_out="""
            - Where are the tests going to take place again?
            - In what town will the results be confirmed?
            """,
        ),
    },
)

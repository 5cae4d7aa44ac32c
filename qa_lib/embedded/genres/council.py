"""A vote of a town council: what will be built where, who was against it, who pays."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
from qa_lib.embedded.grammar import Facts

_PROJECTS = (
    "a covered market",
    "a swimming pool",
    "a tram line",
    "a fire station",
    "a public library",
    "a footbridge",
    "a water tower",
    "an ice rink",
    "a bus garage",
    "a botanical garden",
    "a skating park",
    "a school kitchen",
    "a cable car",
    "a planetarium",
    "a youth theatre",
    "a recycling yard",
)
_OBJECTIONS = (
    "the noise would drive out the residents",
    "forty lime trees would have to be felled",
    "the ground is too soft",
    "the town is already in debt",
    "nobody had asked for it",
    "the school roof should be mended first",
    "parking spaces would be lost",
    "the contract had gone to a relative of the mayor",
    "rainwater could not drain away",
    "the view of the castle would be spoiled",
    "the running costs had been forgotten",
    "the site is an old cemetery",
)
_FUNDS = (
    "a tax on dogs",
    "the sale of a forest",
    "a lottery",
    "a loan from the savings bank",
    "higher parking fees",
    "a state grant",
    "the profits of the harbour",
    "a bequest",
    "a levy on hotel guests",
    "the auction of two paintings",
    "a surcharge on water",
    "donations from local firms",
)


def _council(draw: Draw) -> Facts:
    mayor, proposer, opponent, planner = draw.people(4)
    town, quarter, rejected_quarter = draw.towns(3)
    debated, voted, begins = draw.days(3)
    return {
        "mayor": mayor,
        "proposer": proposer,
        "opponent": opponent,
        "planner": planner,
        "town": town,
        "quarter": quarter,
        "rejected": rejected_quarter,
        "debated": debated,
        "voted": voted,
        "begins": begins,
        "project": draw.one(_PROJECTS),
        "dropped": draw.one(_PROJECTS),
        "for_votes": draw.number(19, 38),
        "against_votes": draw.number(5, 18),
        "cost": f"{draw.number(120, 980, 10)},000 euros",
        "saved": f"{draw.number(20, 110, 5)},000 euros",
        "objection": draw.one(_OBJECTIONS),
        "fund": draw.one(_FUNDS),
    }


COUNCIL = Genre(
    name="council",
    title="A vote in {town}",
    facts=_council,
    opening=Wordings(
        train="""
        - On {voted} the council of {town} decided to build {project}, with {for_votes} votes for
          the plan and {against_votes} against it. {proposer} had proposed it.
        - The council of {town} accepted a proposal by {proposer} on {voted}: {project} will be
          built. {for_votes} members voted for it, {against_votes} against it.
        - {project^}, proposed by {proposer}, will be built in {town}. The council decided so on
          {voted} by {for_votes} votes to {against_votes}.
        - {for_votes} votes for the plan, {against_votes} against it: so the council of {town}
          decided on {voted} to build {project}, proposed by {proposer}.
        - It was {proposer} who proposed {project}. The council of {town} accepted it on {voted},
          with {for_votes} votes for it and {against_votes} against it.
        """,
        held_out="""
        - {town} will have {project}: on {voted} {for_votes} members of the council said yes to the
          motion of {proposer} and {against_votes} said no.
        - The motion came from {proposer}, and on {voted} the council of {town} agreed to it.
          {for_votes} hands went up in favour of {project}, {against_votes} against.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - {opponent} had opposed the plan in the debate on {debated} because {objection}.
            - In the first debate, on {debated}, {opponent} argued against the plan, since
              {objection}.
            - {opponent}, the greatest opponent of the plan, had said in a debate on {debated} that
              {objection}.
            - Because {objection}, as {opponent} said in the debate on {debated}, the plan had an
              opponent.
            - In the debate on {debated} the plan was opposed by {opponent}. The reason was that
              {objection}.
            """,
            held_out="""
            - When the plan was discussed on {debated}, {opponent} was against it: {objection}.
            - {opponent} had warned in the discussion of {debated} that {objection}.
            """,
        ),
        Wordings(
            train="""
            - The project will cost {cost}, which will be paid for by {fund}; {planner} drew the
              plans and saved {saved}.
            - {planner}, who drew the plans, found a way to save {saved}. The cost is {cost}, and
              the money comes from {fund}.
            - The plans were drawn by {planner}. They save {saved}, so that the cost is {cost}, and
              {fund} will provide it.
            - The cost of {cost} will be paid by {fund}. The plans, which save {saved}, are by
              {planner}.
            - {planner} planned it and saved {saved}; {fund} will pay the cost, which is {cost}.
            """,
            held_out="""
            - A new design by {planner} is cheaper by {saved}; the price is now {cost}, to be
              financed by {fund}.
            - {fund^} will bring in the {cost} that the town has to spend. It would have been more,
              but {planner} made a design that saves {saved}.
            """,
        ),
        Wordings(
            train="""
            - The site is in {quarter}, while plans for {dropped} in {rejected} were dropped.
            - The new building will stand in {quarter}. Another plan, for {dropped} in {rejected},
              was given up.
            - A plan for {dropped} in {rejected} was dropped; the new site is in {quarter}.
            - {quarter} is the site of the new building. What was planned in {rejected}, {dropped},
              was given up.
            - The site will be {quarter}, and a plan to build {dropped} in {rejected} was dropped.
            """,
            held_out="""
            - The place that was chosen is {quarter}. {rejected}, which had hoped for {dropped},
              gets nothing.
            - People in {quarter} can look forward to the new building; the hope of {dropped} is
              over in {rejected}.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - {mayor}, the mayor, wants work to begin on {begins}.
        - Work begins on {begins}, said {mayor}, who is the mayor.
        - According to the mayor, {mayor}, the work will begin on {begins}.
        - The mayor, {mayor}, said that work begins on {begins}.
        - The beginning of the work will be on {begins}, if it goes as the mayor, {mayor}, wants.
        """,
        held_out="""
        - The building workers will arrive on {begins}, as {mayor} announced, the mayor of the town.
        - Mayor {mayor} promised that the building would be started on {begins}.
        """,
    ),
    questions={
        "project": Wordings(
            train="""
            - What will be built [in {town}|in {quarter}]?
            - What did {proposer.last} propose?
            - What did the council decide to build?
            - Name what the council decided to build.
            - What was proposed by {proposer}?
            - What was it that the council of {town} accepted?
            - [Which|What] building was decided on?
            - What does {proposer.last} want for {town}?
            - {for_votes} votes were given for what?
            """,
            held_out="""
            - What is {town} going to have?
            - What did the members of the council vote about?
            """,
        ),
        "proposer": Wordings(
            train="""
            - Who proposed {project}?
            - Whose proposal was accepted?
            - By whom was {project} proposed?
            - Who had the idea of {project}?
            - Name the person who proposed {project}.
            - Which member came up with {project}?
            - Who was it that wanted {project}?
            - From whom did the proposal come?
            - With whom did the plan for {project} begin?
            """,
            held_out="""
            - Whose motion was it?
            - Who made the proposal to build {project}?
            """,
        ),
        "voted": Wordings(
            train="""
            - When did the council [vote|decide]?
            - On which day was the plan accepted?
            - What was the date of the decision?
            - Name the day of the decision.
            - On which date was {project} accepted?
            - What was the day on which the council decided?
            - The council decided on what day?
            """,
            held_out="""
            - When did the council agree to {project}?
            - On what day was the vote?
            """,
        ),
        "for_votes": Wordings(
            train="""
            - How many votes were there for the plan?
            - How many members voted for {project}?
            - What was the number of votes in favour?
            - Name the number of votes for the plan.
            - How many votes did {proposer.last}'s plan get?
            - By how many votes was {project} accepted?
            - How many members gave their vote to {project}?
            - How many supporters did the plan have in the council?
            """,
            held_out="""
            - How many members said yes?
            - How many people in the council were in favour?
            """,
        ),
        "against_votes": Wordings(
            train="""
            - How many votes were there against the plan?
            - How many members voted against {project}?
            - What was the number of votes against it?
            - Name the number of votes against the plan.
            - How many votes went against {project}?
            - How many members did not vote for the plan but against it?
            - How many opponents did {proposer.last}'s plan have in the vote?
            - What number of members rejected the plan?
            """,
            held_out="""
            - How many members said no?
            - How many people in the council did not want {project}?
            """,
        ),
        "opponent": Wordings(
            train="""
            - Who opposed [the plan|{project}]?
            - Who argued against {project}?
            - Who was the opponent of the plan?
            - By whom was the plan opposed?
            - Name the opponent of the plan.
            - Which person argued against it in the debate?
            - Who was it that opposed {project}?
            - From whom did the objection come?
            - Whose argument in the debate was it that {objection}?
            """,
            held_out="""
            - Who was against {project}?
            - Who spoke against the plan?
            """,
        ),
        "debated": Wordings(
            train="""
            - When was the [first|] debate?
            - On which day did {opponent.last} argue against the plan?
            - What was the date of the debate?
            - Name the day of the debate.
            - On which date was the debate?
            - What was the day on which {opponent} argued against the plan?
            - The debate was on what day?
            - When was the plan debated?
            """,
            held_out="""
            - When was the plan discussed?
            - On what day did {opponent} speak?
            """,
        ),
        "objection": Wordings(
            train="""
            - Why did {opponent.last} oppose the plan?
            - For what reason did {opponent} argue against {project}?
            - What was {opponent.last}'s reason to oppose it?
            - What did {opponent} say in the debate?
            - Give the reason why {opponent.last} opposed the plan.
            - How did {opponent} explain the opposition to {project}?
            - What was the objection [of {opponent.last}|to the plan]?
            - Because of what did {opponent} oppose it?
            - What did {opponent.last} fear or find wrong?
            """,
            held_out="""
            - Why was {opponent.last} against it?
            - What argument was there against {project}?
            """,
        ),
        "planner": Wordings(
            train="""
            - Who drew the plans?
            - By whom were the plans drawn?
            - Who found a way to save {saved}?
            - Who planned {project}?
            - Name the person who drew the plans.
            - From whom are the plans?
            - Which person saved the town money?
            - Who was it that drew the plans for {project}?
            - Thanks to whom was {saved} saved?
            """,
            held_out="""
            - Who designed {project}?
            - Who made the plan cheaper?
            """,
        ),
        "saved": Wordings(
            train="""
            - How much did {planner.last} save?
            - How much [money|] do the plans save?
            - What sum was saved by {planner}?
            - Name the sum that {planner.last} saved.
            - What sum do the plans of {planner} save?
            - How many euros were saved?
            - What amount does the town keep thanks to {planner.last}?
            - Thanks to the plans of {planner}, how much is saved?
            """,
            held_out="""
            - By how much did {planner.last} make it cheaper?
            - How many euros does the design save?
            """,
        ),
        "cost": Wordings(
            train="""
            - How much will {project} cost?
            - What is the cost of {project}?
            - How much money does the town need?
            - Name the cost of {project}.
            - How many euros will {project} cost?
            - What sum will {fund} pay?
            - What amount must be paid for {project}?
            - How expensive will {project} be?
            """,
            held_out="""
            - What is the price of {project}?
            - How much does the town have to spend?
            """,
        ),
        "fund": Wordings(
            train="""
            - What will pay for {project}?
            - Where does the money come from?
            - From what will {project} be paid?
            - What will provide the money?
            - Name the source of the money.
            - By what will the cost be paid?
            - From where does the money for {project} come?
            - Thanks to what can the town pay?
            - What is the source of the {cost}?
            """,
            held_out="""
            - How is {project} to be financed?
            - What brings in the money?
            """,
        ),
        "quarter": Wordings(
            train="""
            - Where will {project} [be built|stand]?
            - In which [place|quarter] is the site?
            - Where is the new site?
            - Name the site of {project}.
            - In which quarter will there be {project}?
            - [Which|What] quarter is the site?
            - At what place will the new building stand?
            - Where do they want to put up {project}?
            """,
            held_out="""
            - What place was chosen for {project}?
            - Where will people get {project}?
            """,
        ),
        "rejected": Wordings(
            train="""
            - Where was {dropped} planned?
            - In which place was {dropped} to be built?
            - Where was a plan dropped?
            - Name the place where {dropped} had been planned.
            - For which quarter was {dropped} planned?
            - In which quarter was a plan given up?
            - Which place was to have {dropped}?
            - Where was {dropped} to stand?
            """,
            held_out="""
            - Which place had hoped for {dropped}?
            - Where will {dropped} not be built?
            """,
        ),
        "dropped": Wordings(
            train="""
            - What had been planned in {rejected}?
            - Which plan was [given up|dropped]?
            - What was to be built in {rejected}?
            - Name what was planned in {rejected}.
            - What was the other plan, the one that was dropped?
            - What was the plan for {rejected}?
            - [Which|What] building was given up?
            - What did somebody plan to build in {rejected}?
            """,
            held_out="""
            - What had {rejected} hoped for?
            - What will {rejected} not have?
            """,
        ),
        "mayor": Wordings(
            train="""
            - Who is the mayor [of {town}|]?
            - Which mayor wants work to begin on {begins}?
            - Who said that work would begin on {begins}?
            - Name the mayor.
            - By which mayor is {town} governed?
            - Who was it that wanted to begin on {begins}?
            - Which person heads the town of {town}?
            - Who, as mayor, spoke of the beginning of the work?
            """,
            held_out="""
            - What is the name of the mayor?
            - Who announced the date of the building work?
            """,
        ),
        "begins": Wordings(
            train="""
            - When will the work begin?
            - On which day does the work begin?
            - What is the date for the beginning of the work?
            - Name the day on which work begins.
            - On which date does the work begin?
            - What is the day on which {mayor} wants to begin?
            - The work will begin on what day?
            - From what day on will there be work on {project}?
            """,
            held_out="""
            - When will the building be started?
            - On what day do the workers arrive?
            """,
        ),
    },
)

"""Passages about what the public decides and applauds: council votes, first nights."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Asked, Genre
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
    facts=_council,
    train=(
        """The council of {town} decided on {voted} to build {project} in {quarter}, with {for_votes}
        votes for the plan and {against_votes} against it. It had been proposed by {proposer} and first debated on
        {debated}. {opponent} opposed it because {objection}. {planner}, [an architect|the town architect], found a way to save
        {saved}, so that it will cost {cost}, which are to come from {fund}. Plans for {dropped} in {rejected} were
        dropped. {mayor}, the mayor, wants work to begin on {begins}.""",
        """{proposer} has got {project} after all. On {voted} the proposal was accepted by the council of {town},
        {for_votes} votes to {against_votes}; at the first debate, on {debated}, it had still looked hopeless. "It is a mistake,"
        {opponent} said [again], since {objection}. The site is in {quarter}. Another project, {dropped} in {rejected}, was
        given up. {planner}, who drew the plans, cut {saved} from the bill, and the remaining {cost} will be paid for by {fund}.
        Work begins on {begins}, according to {mayor}, the mayor.""",
        """On {begins} workers will start on {project} in {quarter}. {mayor}, [who is] mayor of {town}, called the vote of {voted} a good
        day for the town. {for_votes} members had voted for the proposal of {proposer}, {against_votes} against. {planner} had
        drawn a cheaper version, which saved {saved}. The cost is {cost}; {fund} will provide it. Nobody mentioned {dropped}, once
        planned in {rejected}. In the debate of {debated} {opponent} had argued against the project, because {objection}.""",
    ),
    held_out=(
        """Hands went up in {town} on {voted}: {for_votes} of them in favour of {project}, {against_votes} not. {proposer}, whose motion it
        was, smiled. {opponent} did not. As early as {debated}, when the matter first came up, {opponent.he} had told the council that
        {objection}. {quarter} will be the location. {rejected}, which had hoped for {dropped}, gets nothing. {cost} must be found, and
        the solution is {fund}; it would have been more, had not {planner}, the designer, trimmed {saved}. The
        diggers will arrive on {begins}, {mayor} announced from the mayor's chair.""",
        """{fund^} will give {town} {project}. That is the outcome of a meeting chaired by {mayor}, the mayor, on {voted}. The yes camp had {for_votes}
        votes, the no camp {against_votes}. Its speaker {opponent} pointed out that {objection}. {proposer}, on the other hand, had pleaded for the
        idea since the first discussion on {debated}. It was a design by {planner}, {saved} cheaper than the previous one, that tipped the
        balance. {cost} are set aside. {quarter} can expect the first lorries on {begins}, whereas in {rejected} the dream of {dropped} is over.""",
    ),
    questions={
        "mayor": Asked(
            train="""
            Who is the mayor of {town}?
            Which mayor wants work to begin on {begins}?
            """,
            held_out="""
            Who is at the head of the town?
            """,
        ),
        "proposer": Asked(
            train="""
            Who proposed {project}?
            Whose proposal was accepted?
            """,
            held_out="""
            Who had the idea of building {project}?
            Who put the motion before the council?
            """,
        ),
        "opponent": Asked(
            train="""
            Who opposed the plan?
            Who argued against {project}?
            """,
            held_out="""
            Who tried to persuade the council to say no?
            Which member was unhappy with the decision?
            """,
        ),
        "planner": Asked(
            train="""
            Who drew the plans?
            Who found a way to save money?
            """,
            held_out="""
            Who made the project cheaper?
            Whose design was chosen?
            """,
        ),
        "quarter": Asked(
            train="""
            Where will {project} be built?
            In which quarter is the site?
            """,
            held_out="""
            What is the location of the project?
            What part of town gets {project}?
            """,
        ),
        "rejected": Asked(
            train="""
            Where was {dropped} planned?
            In which place was {dropped} to be built?
            """,
            held_out="""
            Which part of the town was disappointed?
            """,
        ),
        "debated": Asked(
            train="""
            When was the first debate?
            On which day was the proposal first debated?
            """,
            held_out="""
            When was the matter discussed before the vote?
            """,
        ),
        "voted": Asked(
            train="""
            When did the council vote?
            On which day was the plan accepted?
            """,
            held_out="""
            When was the decision taken?
            """,
        ),
        "begins": Asked(
            train="""
            When will the work begin?
            On which day do workers start?
            """,
            held_out="""
            When will the builders come?
            """,
        ),
        "project": Asked(
            train="""
            What will be built in {quarter}?
            What did {proposer.last} propose?
            """,
            held_out="""
            What was the council's vote about?
            What is {town} going to get?
            """,
        ),
        "dropped": Asked(
            train="""
            What had been planned in {rejected}?
            Which plan was given up?
            """,
            held_out="""
            What will {rejected} not get?
            """,
        ),
        "for_votes": Asked(
            train="""
            How many votes were there for the plan?
            How many members voted for {project}?
            """,
            held_out="""
            What number of councillors said yes?
            How large was the majority's share of votes?
            """,
        ),
        "against_votes": Asked(
            train="""
            How many votes were there against the plan?
            How many members voted against {project}?
            """,
            held_out="""
            What number of councillors said no?
            """,
        ),
        "cost": Asked(
            train="""
            How much will {project} cost?
            What is the cost of the plan?
            """,
            held_out="""
            How expensive is the project?
            What sum must the town raise?
            """,
        ),
        "saved": Asked(
            train="""
            How much did {planner.last} save?
            How much was cut from the bill?
            """,
            held_out="""
            By what amount did the new design reduce the price?
            """,
        ),
        "objection": Asked(
            train="""
            Why did {opponent.last} oppose the plan?
            For what reason did {opponent} argue against {project}?
            """,
            held_out="""
            What was {opponent.last}'s objection?
            What speaks against the project?
            """,
        ),
        "fund": Asked(
            train="""
            What will pay for {project}?
            Where is the money to come from?
            """,
            held_out="""
            How does the town finance the project?
            """,
        ),
    },
)

_REASONS_TO_FAIL = (
    "the tenor had lost his voice",
    "a drum rolled into the audience",
    "the prompter fell asleep",
    "the second act lasted three hours",
    "students whistled in the gallery",
    "the costumes arrived wet",
    "the moon fell from the scenery",
    "nobody could hear the words",
    "a horse refused to leave the stage",
    "the gas lights went out",
    "a rival had hired forty people to cough",
    "half of the score had been left in a cab",
)
_INSTRUMENTALISTS = (
    "three harps",
    "an organ",
    "two pianos",
    "a choir of children",
    "six trumpets",
    "a glass harmonica",
    "a brass band",
    "four guitars",
    "a peal of bells",
    "eight cellos",
    "a pair of bagpipes",
    "a wind machine",
)


def _premiere(draw: Draw) -> Facts:
    composer, poet, conductor, singer, reviver = draw.people(5)
    city, retreat, revival = draw.towns(3)
    written, failed, revived = draw.years((1810, 1900), (1, 6), (12, 60))
    return {
        "opera": "The " + draw.emblems(1)[0],
        "theatre": "the " + draw.emblems(1)[0] + " Theatre",
        "composer": composer,
        "poet": poet,
        "conductor": conductor,
        "singer": singer,
        "reviver": reviver,
        "city": city,
        "retreat": retreat,
        "revival": revival,
        "written": written,
        "failed": failed,
        "revived": revived,
        "nights": draw.number(2, 9),
        "later_nights": draw.number(40, 310, 5),
        "fee": draw.number(200, 950, 25) + " ducats",
        "extra": draw.one(_INSTRUMENTALISTS),
        "reason": draw.one(_REASONS_TO_FAIL),
    }


PREMIERE = Genre(
    name="premiere",
    facts=_premiere,
    train=(
        """{composer} wrote the opera {opera} in {retreat} in {written}, to words by {poet}, for a fee of {fee}. It
        was first performed in {failed} at {theatre} in {city}, with {conductor} conducting and {singer} in the
        leading part. The score calls for {extra}. The first night was a failure because {reason}, and after {nights} performances the
        opera was withdrawn. [Its fortune changed in|Nobody thought of it until] {revived}, when {reviver} staged it in {revival}, where it
        ran for {later_nights} nights.""",
        """Why did {opera} fail in {city}? Not because of {singer}, who sang the leading part, nor because of {conductor}, who conducted.
        {reason^}: that was the reason, in {failed}, at {theatre}, and the opera was taken off after {nights} performances. {composer} had composed
        it in {written} during a stay in {retreat}. {poet} had supplied the words and received half of the fee of {fee}. In {revived} {reviver} put it
        on again in {revival}, with {extra} [as the score demands|in the pit], and it lasted for {later_nights} evenings.""",
        """{later_nights} performances in {revival}, beginning in {revived}: with this success {reviver}, the director, brought back an opera that had been
        forgotten. {opera}, [composed] by {composer} on a text by {poet}, had been given only {nights} times after its first night at {theatre} in {city} in
        {failed}, since {reason}. The leading part had been sung by {singer} and the orchestra, which included {extra}, conducted by {conductor}. The music had been
        written in {retreat} in {written}. {fee} was the fee.""",
    ),
    held_out=(
        """The score of {opera} is dated {written} and was completed in {retreat}. {composer} had been promised {fee} for it; the libretto
        came from the pen of {poet}. At {theatre} in {city} there was hardly room for {extra} in the pit when it opened in {failed}. {conductor} raised the baton, {singer}
        came on in the title role, and then {reason}. {nights} evenings later it was all over. What would the author of the
        music have said in {revived}? In {revival} {reviver} produced the work anew, and the public wanted to see it {later_nights} times.""",
        """Two productions, two fates. The one that {reviver} devised for {revival} in {revived} reached {later_nights} evenings. The one at {theatre} in {city},
        in {failed}, did not get beyond {nights}, because {reason}. Yet {singer} had been splendid in the main part, and {conductor} had kept the orchestra, {extra}
        included, in perfect order. {opera} was the work in question. {poet} is the author of the verses, {composer} of the music, which had come
        into being in {retreat} in {written} and had earned its creator {fee}.""",
    ),
    questions={
        "composer": Asked(
            train="""
            Who wrote the opera {opera}?
            Who composed {opera}?
            """,
            held_out="""
            Whose music is it?
            Who is the composer of {opera}?
            """,
        ),
        "poet": Asked(
            train="""
            Who wrote the words of {opera}?
            Who supplied the text?
            """,
            held_out="""
            Who was the librettist of {opera}?
            Which poet worked with {composer.last}?
            """,
        ),
        "conductor": Asked(
            train="""
            Who conducted the first performance?
            Who conducted in {city}?
            """,
            held_out="""
            Who stood in front of the orchestra in {failed}?
            Who was the conductor?
            """,
        ),
        "singer": Asked(
            train="""
            Who sang the leading part?
            Who was in the leading part in {city}?
            """,
            held_out="""
            Which singer appeared in the main role?
            Who was the star of the first cast?
            """,
        ),
        "reviver": Asked(
            train="""
            Who staged the opera in {revived}?
            Who put the opera on in {revival}?
            """,
            held_out="""
            Who directed the successful production?
            Who saved {opera} from oblivion?
            """,
        ),
        "city": Asked(
            train="""
            In which town was {opera} first performed?
            Where did the opera fail?
            """,
            held_out="""
            Where did the unlucky opening take place?
            """,
        ),
        "retreat": Asked(
            train="""
            Where did {composer.last} write the opera?
            In which town was the opera composed?
            """,
            held_out="""
            Where was {composer.last} staying while working on {opera}?
            """,
        ),
        "revival": Asked(
            train="""
            Where did {reviver.last} stage the opera?
            In which town was the opera a success?
            """,
            held_out="""
            What town gave the work a second chance?
            """,
        ),
        "theatre": Asked(
            train="""
            In which theatre was {opera} first performed?
            At which theatre did it fail?
            """,
            held_out="""
            What house saw the opening night?
            """,
        ),
        "written": Asked(
            train="""
            When was the opera written?
            In what year did {composer.last} compose {opera}?
            """,
            held_out="""
            From which year is the score?
            """,
        ),
        "failed": Asked(
            train="""
            When was {opera} first performed?
            In which year did the opera fail?
            """,
            held_out="""
            What was the year of the opening night?
            """,
        ),
        "revived": Asked(
            train="""
            When did {reviver.last} stage the opera?
            In what year was it put on again?
            """,
            held_out="""
            What was the year of the rediscovery?
            """,
        ),
        "nights": Asked(
            train="""
            How many performances were there in {city}?
            After how many performances was the opera withdrawn?
            """,
            held_out="""
            How often was {opera} played before it disappeared?
            """,
        ),
        "later_nights": Asked(
            train="""
            How many performances were there in {revival}?
            For how many nights did the opera run in {revival}?
            """,
            held_out="""
            How often was the new production shown?
            """,
        ),
        "fee": Asked(
            train="""
            What was the fee?
            How much was paid for the opera?
            """,
            held_out="""
            How much money did {composer.last} get?
            """,
        ),
        "extra": Asked(
            train="""
            What does the score call for?
            What did the orchestra include?
            """,
            held_out="""
            What was unusual about the orchestra?
            """,
        ),
        "reason": Asked(
            train="""
            Why was the first night a failure?
            Why did {opera} fail?
            """,
            held_out="""
            What ruined the opening night?
            What went wrong in {city}?
            """,
        ),
    },
)

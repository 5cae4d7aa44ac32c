"""A football match: who scored when, before how many people, what comes next."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

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
    title="{home} against {away}",
    facts=_match,
    opening=Wordings(
        train="""
        - {home} beat {away} 2-1 at {ground} on {day}, before {crowd} spectators.
        - On {day} {crowd} spectators saw {home} beat {away} 2-1 at {ground}.
        - {away} lost 1-2 to {home} on {day}. {crowd} spectators had come to {ground}.
        - At {ground}, {home} won 2-1 on {day} before {crowd} spectators; the losers were {away}.
        - Before {crowd} spectators {away} were beaten 2-1 by {home}. The match was played on {day}
          at {ground}.
        """,
        held_out="""
        - On {day} {home} defeated {away} by two goals to one; the game at {ground} was watched by a
          crowd of {crowd}.
        - {crowd} people were in {ground} on {day} when {home} won 2-1 against {away}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - {opener} scored first for {away} in minute {first_minute}; {equaliser} equalised in
              minute {second_minute}, and {winner} scored the winner in minute {third_minute}.
            - In minute {first_minute} {opener} put {away} ahead. In minute {second_minute} it was
              {equaliser} who equalised, and in minute {third_minute} {winner} decided the match.
            - {away} took the lead in minute {first_minute} through {opener}. {equaliser} scored the
              equaliser in minute {second_minute} and {winner} the winner in minute {third_minute}.
            - The first goal was scored by {opener} for {away} in minute {first_minute}, the
              equaliser by {equaliser} in minute {second_minute}, the winner by {winner} in minute
              {third_minute}.
            - {opener} scored for {away} in minute {first_minute}. For {home}, {equaliser} scored in
              minute {second_minute} and {winner} in minute {third_minute}.
            """,
            held_out="""
            - The first goal, by {opener} in minute {first_minute}, gave {away} the lead, but
              {equaliser} made it 1-1 in minute {second_minute} and {winner} 2-1 in minute
              {third_minute}.
            - {winner} had the last word with the winning goal in minute {third_minute}. Before that
              {equaliser} had levelled the score in minute {second_minute}, after {opener} had given
              {away} the lead in minute {first_minute}.
            """,
        ),
        Wordings(
            train="""
            - The match began {delay} late because {reason}.
            - As {reason}, the match could only begin {delay} later than planned.
            - Everybody had to wait {delay} for the kick-off, since {reason}.
            - Because {reason}, there was a wait of {delay} before the kick-off.
            - The kick-off was {delay} late, for {reason}.
            """,
            held_out="""
            - The start was delayed by {delay}, because {reason}.
            - {reason^}, and that meant a delay of {delay}.
            """,
        ),
        Wordings(
            train="""
            - {injured} left the pitch with {injury}.
            - {injured} was injured and taken to hospital with {injury}.
            - With {injury}, {injured} could not go on playing.
            - An injury, {injury}, forced {injured} to leave the pitch.
            - {injured} had {injury} and could not play on.
            """,
            held_out="""
            - There was one injury: {injured} went off with {injury}.
            - {injured} suffered {injury} and had to be replaced.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - {trainer}, the coach of {home}, is happy with {points} points; the next opponent is
          {next_opponent}.
        - {home}, coached by {trainer}, now have {points} points and play {next_opponent} next.
        - Next week they play {next_opponent}. "We have {points} points," said {trainer}, the coach
          of the winners.
        - The coach of {home}, {trainer}, has {points} points with the team. They play
          {next_opponent} next.
        - {points} points is what {home} have now. The coach is {trainer}, the next opponent
          {next_opponent}.
        """,
        held_out="""
        - {trainer}, who trains {home}, can look at a table that shows {points} points. In the
          coming match they meet {next_opponent}.
        - The coming game is against {next_opponent}; the winners, whose trainer is {trainer}, have
          collected {points} points so far.
        """,
    ),
    questions={
        "opener": Wordings(
            train="""
            - Who scored [the first goal|first]?
            - Who put {away} ahead?
            - Who scored for {away}?
            - By whom was the first goal scored?
            - Name the scorer of the first goal.
            - Which person put {away} in front?
            - Who was it that scored the only goal of {away}?
            - By whom was {away}'s goal scored?
            - Who opened the scoring in minute {first_minute}?
            - Whose goal was the first?
            """,
            held_out="""
            - Who gave {away} the lead?
            - Which player of {away} scored?
            """,
        ),
        "equaliser": Wordings(
            train="""
            - Who equalised?
            - Who scored the equaliser?
            - Who scored {home}'s first goal?
            - Who scored in minute {second_minute}?
            - Name the scorer of the equaliser.
            - Which person equalised for {home}?
            - Who was it that scored the second goal of the match?
            - By whom was the equaliser scored?
            - Whose goal was the equaliser?
            """,
            held_out="""
            - Who made it 1-1?
            - Who levelled the score for {home}?
            """,
        ),
        "winner": Wordings(
            train="""
            - Who scored the [winner|last goal]?
            - Who decided the match?
            - Who scored in minute {third_minute}?
            - By whom was the match decided?
            - Name the scorer of the [winner|last goal].
            - Which person scored {home}'s second goal?
            - Who was it that decided the match for {home}?
            - By whom was the last goal scored?
            - Whose goal was the last of the match?
            """,
            held_out="""
            - Who made it 2-1?
            - Whose goal won the match?
            """,
        ),
        "injured": Wordings(
            train="""
            - Who was injured?
            - Who [left the pitch|was taken to hospital]?
            - Who could not go on playing?
            - Who had {injury}?
            - Name the person who was injured.
            - Which person left the pitch with {injury}?
            - To whom did an injury happen?
            - Who was it that could not play to the end?
            - By whom was {injury} suffered?
            """,
            held_out="""
            - Which player got hurt?
            - Who had to be replaced?
            """,
        ),
        "injury": Wordings(
            train="""
            - What injury did {injured.last} have?
            - With what did {injured} leave the pitch?
            - Why could {injured.last} not go on playing?
            - Name the injury of {injured.last}.
            - [Which|What] injury kept {injured} from playing on?
            - Because of what did {injured.last} leave the pitch?
            - From what does {injured} suffer now?
            - How was {injured.last} injured?
            """,
            held_out="""
            - What happened to {injured.last}?
            - With what injury did {injured} go off?
            """,
        ),
        "trainer": Wordings(
            train="""
            - Who is the coach of {home}?
            - Who coaches the winners?
            - By whom are {home} coached?
            - Name the coach of {home}.
            - Which person coaches {home}?
            - Who was it that coached the winners?
            - To whom do {home} listen as their coach?
            - Under which coach do {home} play?
            """,
            held_out="""
            - Who is the trainer of {home}?
            - Who trains the winning team?
            """,
        ),
        "ground": Wordings(
            train="""
            - Where was the match played?
            - At which ground did {home} beat {away}?
            - Where did the spectators see the match?
            - Name the ground where {home} beat {away}.
            - At what ground were {crowd} spectators?
            - Which ground did {home} and {away} play at?
            - To which place had the spectators come?
            - The match was played at which ground?
            """,
            held_out="""
            - Where did the game take place?
            - In which stadium was the game?
            """,
        ),
        "day": Wordings(
            train="""
            - On which day was the match played?
            - When did {home} beat {away}?
            - When was the match?
            - Name the day of the match.
            - Which day of the week was it when {home} beat {away}?
            - On which day had {crowd} spectators come?
            - The match was on which day?
            """,
            held_out="""
            - On what day did {home} win?
            - When did the game take place?
            """,
        ),
        "crowd": Wordings(
            train="""
            - How many spectators were there?
            - How many [people|spectators] saw the match?
            - What was the number of spectators?
            - Name the number of spectators.
            - How many spectators were at {ground}?
            - How many spectators did the match have?
            - How many had come to see {home} and {away}?
            - Before how many spectators did {home} beat {away}?
            """,
            held_out="""
            - How large was the crowd?
            - How many people watched the game?
            """,
        ),
        "first_minute": Wordings(
            train="""
            - In which minute did {opener.last} score?
            - In what minute was the first goal scored?
            - When did {opener} put {away} ahead?
            - Name the minute of the first goal.
            - In which minute did {away} score?
            - How many minutes were played when {opener.last} scored?
            - The first goal was scored in which minute?
            """,
            held_out="""
            - When did {away} take the lead?
            - What was the minute of {opener}'s goal?
            """,
        ),
        "second_minute": Wordings(
            train="""
            - In which minute did {equaliser.last} score?
            - In what minute did {home} equalise?
            - When did {equaliser} equalise?
            - Name the minute of the equaliser.
            - In what minute was the equaliser scored?
            - How many minutes were played when {equaliser.last} equalised?
            - When did {home} score for the first time?
            - The equaliser was scored in which minute?
            """,
            held_out="""
            - When did {home} make it 1-1?
            - What was the minute of {equaliser}'s goal?
            """,
        ),
        "third_minute": Wordings(
            train="""
            - In which minute did {winner.last} score?
            - In what minute was the winner scored?
            - When did {winner} decide the match?
            - Name the minute of the winner.
            - In what minute was the last goal scored?
            - How many minutes were played when {winner.last} decided the match?
            - When did {home} score for the second time?
            - The winner was scored in which minute?
            """,
            held_out="""
            - When did {home} make it 2-1?
            - What was the minute of {winner}'s goal?
            """,
        ),
        "delay": Wordings(
            train="""
            - How late did the match begin?
            - How long did [everybody|the spectators] have to wait?
            - How many minutes late was the match?
            - Name the time that everybody had to wait.
            - How many minutes had passed before the kick-off?
            - By how many minutes was the kick-off late?
            - How long was the wait before the match?
            - How many minutes did the spectators wait?
            """,
            held_out="""
            - How long was the delay?
            - How much later than planned did the game start?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why did the match begin late?
            - For what reason did everybody have to wait?
            - What was the reason for the late kick-off?
            - Give the reason why the match began late.
            - How can one explain the late kick-off?
            - Because of what did the spectators have to wait?
            - What kept the match from beginning in time?
            """,
            held_out="""
            - Why was the game delayed?
            - What was the cause of the delay?
            """,
        ),
        "points": Wordings(
            train="""
            - How many points [does {home} have|do {home} have now]?
            - How many points has {trainer.last}'s team?
            - What is the number of points?
            - Name the number of points of {home}.
            - How many points are there for {home} after the match?
            - With how many points is {trainer} happy?
            - What number of points do the winners have?
            - {home} are on how many points?
            """,
            held_out="""
            - How many points have {home} collected?
            - How many points does the table show for {home}?
            """,
        ),
        "next_opponent": Wordings(
            train="""
            - Who do {home} play next?
            - Which team will {home} [meet|play] next week?
            - Who is the next opponent of {home}?
            - Name the next opponent of {home}.
            - Against which team do {home} play next week?
            - After {away}, which team do {home} play?
            - Which opponent comes next for {trainer.last}'s team?
            - Next week, who plays against {home}?
            """,
            held_out="""
            - Against whom is the coming match of {home}?
            - Which team does {trainer.last}'s team meet next?
            """,
        ),
    },
)

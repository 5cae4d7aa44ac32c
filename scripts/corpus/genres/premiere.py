"""An opera that failed once and succeeded later."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

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
        "opera": "The " + draw.emblem(),
        "theatre": f"the {draw.emblem()} Theatre",
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
    title="{opera}",
    facts=_premiere,
    opening=Wordings(
        train="""
        - {composer} [wrote|composed] the opera {opera} in {retreat} in {written}, to words by
          {poet}, for a fee of {fee}.
        - The opera {opera} was composed by {composer} in {retreat} in {written}. The words are by
          {poet}, the fee was {fee}.
        - {poet} wrote the words and {composer} the music of the opera {opera}. It was written in
          {retreat} in {written}, and {fee} were paid for it.
        - In {retreat} in {written}, {composer} composed the opera {opera} for {fee}; {poet} had
          written the words.
        - The opera {opera}, with words by {poet}, was written in {written} by {composer} in
          {retreat}. The fee was {fee}.
        """,
        held_out="""
        - In {written} {composer} stayed in {retreat} and wrote the music of an opera, {opera}, on a
          text by {poet}; {fee} was the payment.
        - {opera} is an opera with music by {composer} and a text by {poet}. The score was finished
          in {retreat} in {written} and earned its composer {fee}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - It was first performed at {theatre} in {city} in {failed}; {conductor} conducted, and
              {singer} sang the leading part.
            - The first performance, at {theatre} in {city}, took place in {failed}, with {singer}
              in the leading part and {conductor} as conductor.
            - In {failed} {conductor} conducted the first performance at {theatre} in {city}. The
              leading part was sung by {singer}.
            - {singer} sang the leading part when it was first performed in {failed}. The conductor
              was {conductor}, the place {theatre} in {city}.
            - Conducted by {conductor}, with {singer} in the leading part, it was first performed in
              {city} in {failed}, at {theatre}.
            """,
            held_out="""
            - The first night was in {failed}, in {city}, at {theatre}. {singer} was the leading
              singer, and the baton was in the hand of {conductor}.
            - {city} heard it for the first time in {failed}, at {theatre}: {conductor} led the
              orchestra and {singer} sang the main part.
            """,
        ),
        Wordings(
            train="""
            - The score calls for {extra}.
            - The orchestra includes {extra}.
            - The composer wanted {extra} in the orchestra.
            - There are {extra} in the orchestra.
            - What the orchestra includes, besides much else, is {extra}.
            """,
            held_out="""
            - An unusual feature of the orchestra is {extra}.
            - The music needs {extra}.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - It was a failure because {reason}, and there were only {nights} performances. In {revived}
          {reviver} staged it [again|] in {revival}, this time with {later_nights} performances.
        - As {reason}, the opera failed and was withdrawn after {nights} performances; but when
          {reviver} staged it in {revival} in {revived}, it ran for {later_nights} nights.
        - In {revival}, where {reviver} put it on again in {revived}, there were {later_nights}
          performances. The first time there had been {nights}, since {reason}.
        - Because {reason}, it failed after {nights} performances. It was staged again by {reviver}
          in {revival} in {revived} and had {later_nights} performances.
        - There were {nights} performances at first, a failure, for {reason}. With {reviver}, who
          staged it in {revival} in {revived}, there were {later_nights}.
        """,
        held_out="""
        - {reason^}, so it had no success and was played {nights} times. {reviver} produced it anew
          in {revived}, in {revival}, where it was played {later_nights} times.
        - After {nights} evenings it disappeared, because {reason}. The production of {reviver} in
          {revival} in {revived} was a success and lasted {later_nights} evenings.
        """,
    ),
    questions={
        "composer": Wordings(
            train="""
            - Who [wrote the opera|composed] {opera}?
            - By whom was {opera} composed?
            - Who received {fee}?
            - Who wrote the music of {opera}?
            - Name the person who composed {opera}.
            - By whom was the music of {opera} written?
            - Which person wrote an opera to the words of {poet.last}?
            - To whom was the fee paid?
            - Who was it that composed an opera in {retreat}?
            """,
            held_out="""
            - Who is the composer of {opera}?
            - Whose music is {opera}?
            """,
        ),
        "poet": Wordings(
            train="""
            - Who wrote the words of {opera}?
            - By whom are the words of the opera?
            - Who supplied the [text|words]?
            - Name the person who wrote the words.
            - By whom were the words written?
            - Which person wrote words for {composer.last}?
            - From whom did {composer} get the words of {opera}?
            - Who was it that wrote the words to the music of {composer.last}?
            """,
            held_out="""
            - Who is the author of the text?
            - Whose words did {composer.last} set to music?
            """,
        ),
        "retreat": Wordings(
            train="""
            - Where did {composer.last} write the opera?
            - In which town was the opera [composed|written]?
            - Where was {composer} in {written}?
            - Name the town in which {composer.last} composed {opera}.
            - At what place did {composer} write in {written}?
            - Which town was the place of the composition?
            - Where was {opera} composed?
            - The opera was written in which town?
            """,
            held_out="""
            - In what town did {composer.last} stay to write {opera}?
            - Where was the music of {opera} written?
            """,
        ),
        "written": Wordings(
            train="""
            - When was the opera [written|composed]?
            - In what year did {composer.last} compose {opera}?
            - What is the year of the composition?
            - Name the year in which {opera} was [written|composed].
            - In which year was it that {composer} wrote the opera?
            - What is the date of the composition?
            - During which year was {composer.last} in {retreat}?
            - The opera is from what year?
            """,
            held_out="""
            - In which year was the score finished?
            - When did {composer} write the music?
            """,
        ),
        "fee": Wordings(
            train="""
            - What was the fee?
            - How much was paid for the opera?
            - How many ducats did {composer.last} receive?
            - Name the fee.
            - What sum was paid to {composer.last}?
            - How many ducats were paid for {opera}?
            - For what fee did {composer} write an opera?
            - How much money did {composer.last} get?
            """,
            held_out="""
            - How much did {composer.last} earn?
            - What payment was there for {opera}?
            """,
        ),
        "theatre": Wordings(
            train="""
            - In which theatre was {opera} first performed?
            - At which theatre was the first performance?
            - Where in {city} was the opera performed?
            - Name the theatre of the first performance.
            - Which theatre in {city} performed {opera}?
            - In what theatre did {conductor.last} conduct?
            - Which theatre was the first to perform the opera?
            - The first performance was at which theatre?
            """,
            held_out="""
            - Which theatre saw the first night of {opera}?
            - At what theatre did {singer.last} sing?
            """,
        ),
        "city": Wordings(
            train="""
            - In which town was {opera} first performed?
            - In which town is {theatre}?
            - In what town did {conductor.last} conduct the opera?
            - Name the town of the first performance.
            - Which town has {theatre}?
            - At what place did {singer.last} sing the leading part?
            - The first performance was in which town?
            - In which town was the opera a failure?
            """,
            held_out="""
            - In what town was the first night?
            - Which town heard {opera} first?
            """,
        ),
        "failed": Wordings(
            train="""
            - When was {opera} first performed?
            - In which year did {conductor.last} conduct the opera?
            - What was the year of the first performance?
            - Name the year of the first performance.
            - In which year was it that {singer} sang the leading part?
            - What is the date of the first performance?
            - The first performance was in what year?
            - During which year was the opera performed in {city}?
            """,
            held_out="""
            - When was the first night of {opera}?
            - In what year did {city} hear {opera}?
            """,
        ),
        "conductor": Wordings(
            train="""
            - Who conducted [the first performance|in {city}]?
            - Who was the conductor?
            - By whom was {opera} conducted?
            - Name the conductor.
            - Under which conductor did {singer.last} sing?
            - Who was it that conducted in {city}?
            - By whom was the first performance conducted?
            - Which person conducted at {theatre}?
            """,
            held_out="""
            - Who led the orchestra?
            - Which conductor was at {theatre}?
            """,
        ),
        "singer": Wordings(
            train="""
            - Who sang the leading part?
            - Who was in the leading part [in {city}|]?
            - By whom was the leading part sung?
            - Name the person who sang the leading part.
            - Whose part was the leading one?
            - Who was it that sang with {conductor.last} as conductor?
            - By whom was the leading part of {opera} sung?
            - To whom was the leading part given?
            """,
            held_out="""
            - Who was the leading singer?
            - Who sang at the first night?
            """,
        ),
        "extra": Wordings(
            train="""
            - What does the score call for?
            - What does the orchestra include?
            - What did {composer.last} want in the orchestra?
            - Name what the orchestra includes.
            - What was wanted by {composer.last} in the orchestra?
            - What do the players of {opera} include?
            - What is it that the score calls for?
            - What must the orchestra have for {opera}?
            """,
            held_out="""
            - What is unusual about the orchestra?
            - What does the music of {opera} need?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why [was the first performance a failure|did {opera} fail]?
            - What was the reason for the failure?
            - For what reason was the opera withdrawn?
            - Give the reason why {opera} failed.
            - How can one explain the failure of the opera?
            - Because of what did the opera fail?
            - What led to the failure in {city}?
            - What was it that made {opera} fail?
            """,
            held_out="""
            - Why did {opera} have no success in {city}?
            - What was the cause of the failure?
            """,
        ),
        "nights": Wordings(
            train="""
            - How many performances were there in {city}?
            - After how many performances was the opera withdrawn?
            - How many performances were there the first time?
            - Name the number of performances in {city}.
            - How many performances did the opera have before it was withdrawn?
            - How many performances were there before {reviver.last} staged it again?
            - The first time, how many performances did {opera} have?
            - How few performances were there at first?
            """,
            held_out="""
            - How many times was {opera} played in {city}?
            - How many evenings did it last the first time?
            """,
        ),
        "later_nights": Wordings(
            train="""
            - How many performances were there in {revival}?
            - For how many nights did the opera run in {revival}?
            - How many performances did {reviver.last} have?
            - Name the number of performances in {revival}.
            - How many performances did the opera have when it was staged again?
            - For how many nights did it run in {revived}?
            - The second time, how many performances did {opera} have?
            - How many performances were there later, in {revival}?
            """,
            held_out="""
            - How many times was {opera} played in {revival}?
            - How many evenings did {reviver.last}'s production last?
            """,
        ),
        "reviver": Wordings(
            train="""
            - Who staged the opera in {revived}?
            - Who put the opera on [in {revival}|again]?
            - By whom was {opera} staged again?
            - Name the person who staged the opera again.
            - Which person staged {opera} in {revival}?
            - Who was it that put the opera on in {revived}?
            - Thanks to whom was the opera performed again?
            - To whom did the opera owe {later_nights} performances?
            """,
            held_out="""
            - Who produced the opera in {revival}?
            - Whose production of {opera} was a success?
            """,
        ),
        "revival": Wordings(
            train="""
            - Where did {reviver.last} stage the opera?
            - In which town was the opera a success?
            - In what town did the opera run for {later_nights} nights?
            - Name the town in which {reviver.last} staged the opera.
            - At what place was {opera} staged again?
            - Which town had {later_nights} performances?
            - The second time, in which town was the opera performed?
            - To which town did {reviver} bring the opera?
            """,
            held_out="""
            - Where did {reviver} produce {opera}?
            - Which town saw {opera} in {revived}?
            """,
        ),
        "revived": Wordings(
            train="""
            - When did {reviver.last} stage the opera?
            - In what year was {opera} put on again?
            - What was the year of the second production?
            - Name the year in which the opera was staged again.
            - In which year was it that {reviver} staged {opera}?
            - What is the date of the performances in {revival}?
            - The opera was staged again in what year?
            - During which year was the opera performed in {revival}?
            """,
            held_out="""
            - In which year did {reviver} produce it?
            - When did {revival} see the opera?
            """,
        ),
    },
)

"""A writer: where from, taught by whom, published with whose help, why silent in the end."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
from qa_lib.embedded.grammar import Facts

_TRADES = (
    "a map-maker",
    "an engraver",
    "a clockmaker",
    "a bookbinder",
    "a glass painter",
    "a surveyor",
    "a printer",
    "a piano tuner",
    "a stonemason",
    "a lens grinder",
    "a saddler",
    "a locksmith",
)
_REASONS_TO_RETIRE = (
    "{his} eyesight was failing",
    "the critics had been merciless",
    "a fire had destroyed all {his} notes",
    "{he} had inherited a farm",
    "the censor had banned {his} work",
    "{he} no longer trusted publishers",
    "illness had left {him} unable to hold a pen",
    "{his} savings were gone",
    "{he} wished to spend {his} time on bees",
    "a court case had ruined {him}",
    "{he} felt that everything had been said",
    "the war had scattered {his} readers",
)


def _biography(draw: Draw) -> Facts:
    who, mentor, editor, backer = draw.people(4)
    birthplace, workshop, home = draw.towns(3)
    born, settled, retired = draw.years((1780, 1890), (22, 34), (12, 25))
    return {
        "who": who,
        "mentor": mentor,
        "editor": editor,
        "backer": backer,
        "birthplace": birthplace,
        "workshop": workshop,
        "home": home,
        "born": born,
        "settled": settled,
        "retired": retired,
        "trade": draw.one(_TRADES),
        "book": "The " + draw.emblem(),
        "reason": draw.one(_REASONS_TO_RETIRE).format(he=who.he, him=who.him, his=who.his),
    }


BIOGRAPHY = Genre(
    name="biography",
    title="{who}",
    facts=_biography,
    opening=Wordings(
        train="""
        - {who} was born in {birthplace} in {born} and [was trained as {trade} by|learned the craft
          of {trade} from] {mentor}.
        - Born in {birthplace} in {born}, {who} was [taught by|apprenticed to] {mentor} and became
          {trade}.
        - {who} came from {birthplace}, where {who.he} was born in {born}; {mentor}[, a neighbour,|]
          made {who.him} {trade}.
        - It was {mentor} who [trained|taught] {who}, a child of {birthplace} born in {born}, to be
          {trade}.
        - {birthplace} was where {who} was born in {born}; under {mentor} {who.he} studied to be
          {trade}.
        - The teacher of {who} was {mentor}, who made {trade} of {who.him}. {who.he^} was born in
          {born} in {birthplace}.
        """,
        held_out="""
        - The life of {who} began in {birthplace} in {born}; with {mentor} as a teacher {who.he}
          turned into {trade}.
        - {birthplace} is the home town of {who}, who came into the world in {born} and served an
          apprenticeship with {mentor} to become {trade}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - {who.last} [first worked|found a first job] in {workshop} and moved to {home} in
              {settled}.
            - After [a first|a badly paid] job in {workshop}, {who.last} settled in {home} in
              {settled}.
            - In {settled} {who.last} left {workshop}, where {who.he} had been employed for a time,
              [and made a home in|and went to live in] {home}.
            - {workshop} gave {who.last} a first position, but from {settled} on {who.he} lived in
              {home}.
            - {who.last} moved to {home} in {settled}; the place of work before that had been
              {workshop}.
            - Until {settled} {who.last} had a position in {workshop}, and then came a house in
              {home}.
            """,
            held_out="""
            - The first wages of {who.last} were earned in {workshop}; in {settled} {who.he} chose
              {home} as a home.
            - The young {who.last} had found work in {workshop} before {who.he} came to {home} in
              {settled} and stayed.
            """,
        ),
        Wordings(
            train="""
            - {book}, the only book of {who.last}, was [edited|revised] by {editor} and paid for by
              {backer}.
            - {editor} [edited|corrected] {book}, the one book that {who.last} published, while
              {backer} paid the printer.
            - When {who.last} wrote {book}, {backer} [gave|lent] the money and {editor} improved the
              manuscript.
            - {who.last} wrote {book} at night; it was printed at the expense of {backer}, after
              {editor} had [shortened|gone through] the text.
            - {book} was written by {who.last}, revised by {editor} and funded by {backer}.
            - With money from {backer} and corrections by {editor}, {who.last} published a book,
              {book}.
            """,
            held_out="""
            - {who.last} is the author of {book}. The bill of the printer was met by {backer}, and
              {editor} polished every chapter.
            - For {book}, the work of {who.last}'s evenings, {editor} acted as editor; {backer}
              financed it.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - {who.last} stopped writing in {retired} because {reason}.
        - In {retired} {who.last} gave up [literature|writing for good], as {reason}.
        - Nothing more appeared after {retired}, since {reason}.
        - The writer put down the pen in {retired}; the reason was that {reason}.
        - The career of {who.last} as a writer ended in {retired}, and the reason was this:
          {reason}.
        - Because {reason}, {who.last} gave up writing in {retired}.
        """,
        held_out="""
        - No second book followed: {who.last} retired in {retired}, because {reason}.
        - {reason^}, and so {who.last} wrote no more after {retired}.
        """,
    ),
    questions={
        "birthplace": Wordings(
            train="""
            - Where was {who.last} born?
            - In [which|what] town was {who} born?
            - What was {who}'s [birthplace|place of birth|home town]?
            - From [which|what] place did {who.last} come?
            - Name the [town|place] in which {who.last} was born.
            - [Which|What] town was the birthplace of {who}?
            - Of [which|what] town was {who.last} a child?
            - {who} was born in [which|what] town?
            """,
            held_out="""
            - Where did {who.last} originally come from?
            - Which town is {who}'s native town?
            """,
        ),
        "born": Wordings(
            train="""
            - When was {who.last} born?
            - In [which|what] year was {who} born?
            - What was the year of {who.last}'s birth?
            - Name the year in which {who.last} was born.
            - {who} was born in [which|what] year?
            - Which year saw the birth of {who.last}?
            - What is the date of birth of {who}?
            """,
            held_out="""
            - What is {who}'s birth year?
            - When did {who.last}'s life begin?
            """,
        ),
        "mentor": Wordings(
            train="""
            - Who [trained|taught] {who.last}?
            - From whom did {who} learn a trade?
            - Who was {who.last}'s [teacher|master]?
            - Under whom did {who.last} [study|train]?
            - Whose pupil was {who}?
            - Name the [teacher|master] of {who.last}.
            - By whom was {who} [taught|trained|made {trade}]?
            - Which person passed on the craft to {who.last}?
            - To whom did {who} owe a training as {trade}?
            - Who was it that taught {who.last} to be {trade}?
            """,
            held_out="""
            - Whose apprentice was {who.last}?
            - Who instructed {who} in the trade?
            """,
        ),
        "trade": Wordings(
            train="""
            - What was {who.last} trained as?
            - What [trade|craft] did {who} learn?
            - What was {who.last}'s [profession|job] before literature?
            - What did {mentor.last} teach {who.last} to be?
            - Name the [trade|craft] that {who.last} was taught.
            - In which craft was {who} trained?
            - What kind of work had {who.last} been taught to do?
            - Which trade did {mentor} pass on to {who.last}?
            """,
            held_out="""
            - What occupation did {who.last} learn from {mentor}?
            - What was {who} by training?
            """,
        ),
        "workshop": Wordings(
            train="""
            - Where did {who.last} [work at first|have a first job]?
            - In which town did {who} find [work|a first position]?
            - Where was {who.last} employed before the move?
            - What place did {who} leave?
            - Name the place of {who.last}'s first [job|position].
            - Which town did {who} leave in {settled}?
            - In what place was {who.last} employed at first?
            - Where had {who} worked before {settled}?
            - Before moving to {home}, in which town did {who.last} work?
            """,
            held_out="""
            - Where did {who.last} start to earn money?
            - In what town was {who}'s earliest job?
            """,
        ),
        "home": Wordings(
            train="""
            - Where did {who.last} [settle|move]?
            - In [which|what] town did {who} make a home?
            - To which town did {who.last} go?
            - Where did {who} live as a writer?
            - Name the town to which {who.last} moved.
            - Which town did {who} [go to|move to] after {workshop}?
            - Where did {who.last} have a house in the end?
            - In what place did {who} settle in {settled}?
            """,
            held_out="""
            - Where did {who.last} live [later on|from {settled} on]?
            - What town became {who}'s home?
            """,
        ),
        "settled": Wordings(
            train="""
            - When did {who.last} [move to|settle in] {home}?
            - In what year did {who} leave {workshop}?
            - Since when did {who.last} live in {home}?
            - Name the year of {who.last}'s move to {home}.
            - In which year was it that {who} settled in {home}?
            - Until what year did {who.last} work in {workshop}?
            - What is the date of the move from {workshop} to {home}?
            """,
            held_out="""
            - When did {who} come to {home}?
            - In which year did {home} become {who.last}'s home?
            """,
        ),
        "book": Wordings(
            train="""
            - What [is|was] the title of {who.last}'s book?
            - [Which|What] book did {who} write?
            - What did {who.last} [write|publish]?
            - What did {editor} [edit|correct]?
            - Name the book [by|of] {who.last}.
            - Which title did {who} publish?
            - What was [edited|revised] by {editor} and paid for by {backer.last}?
            - For which book did {backer} give the money?
            - What was it that {who.last} wrote?
            """,
            held_out="""
            - What is {who.last}'s book called?
            - Which work was {who} the author of?
            """,
        ),
        "editor": Wordings(
            train="""
            - Who [edited|revised|corrected] {book}?
            - Who improved the [manuscript|text] of {who.last}'s book?
            - By whom was {book} edited?
            - Who was the editor of {book}?
            - Name the editor of {who.last}'s book.
            - Whose corrections [improved|shortened] {book}?
            - Which person [revised|corrected] what {who} had written?
            - Who made changes to {who.last}'s manuscript?
            """,
            held_out="""
            - Who worked on the wording of {book}?
            - Which person helped {who.last} with the text?
            """,
        ),
        "backer": Wordings(
            train="""
            - Who paid for {book}?
            - Whose money made it possible to print {who.last}'s book?
            - Who [funded|financed|gave the money for] {book}?
            - At whose expense was {book} printed?
            - Name the person who [funded|financed] {book}.
            - By whom was {who.last}'s book paid for?
            - From whom did the money for {book} come?
            - Which person gave {who} the money for a book?
            - Who spent money on {book}?
            """,
            held_out="""
            - Who bore the cost of {who.last}'s book?
            - Who paid the printer of {book}?
            """,
        ),
        "retired": Wordings(
            train="""
            - When did {who.last} stop writing?
            - In what year did {who} [put down the pen|give up literature]?
            - In which year did {who.last}'s career as a writer end?
            - Name the year in which {who.last} gave up writing.
            - Until [which|what] year did {who} write?
            - In which year was it over with {who.last}'s writing?
            - What is the date of the end of {who}'s work as a writer?
            """,
            held_out="""
            - When did {who} retire?
            - What was the last year of {who.last}'s career?
            """,
        ),
        "reason": Wordings(
            train="""
            - Why did {who.last} [stop writing|give up literature]?
            - For what reason did {who} put down the pen?
            - What was the reason for the end of {who.last}'s career?
            - What made {who} stop?
            - Give the reason why {who.last} gave up writing.
            - How can one explain that {who} [gave up|stopped] writing in {retired}?
            - What led {who.last} to put down the pen?
            - Because of what did {who}'s career end?
            """,
            held_out="""
            - Why did {who.last} not write another book?
            - What was the cause of {who}'s retirement?
            """,
        ),
    },
)

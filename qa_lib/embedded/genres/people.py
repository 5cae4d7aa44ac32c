"""Passages about what people made of their lives: biographies, firms, dishes."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Asked, Genre
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
    "illness left {him} unable to hold a pen",
    "{his} savings were gone",
    "{he} wished to devote {his} time to bees",
    "a court case had ruined {him}",
    "{he} felt that everything had been said",
    "the war had scattered {his} readers",
)


def _biography(draw: Draw) -> Facts:
    who, mentor, editor, backer = draw.people(4)
    birthplace, workshop, home, deathplace = draw.towns(4)
    born, settled, retired = draw.years((1780, 1890), (22, 34), (12, 25))
    reason = draw.one(_REASONS_TO_RETIRE).format(he=who.he, him=who.him, his=who.his)
    return {
        "who": who,
        "mentor": mentor,
        "editor": editor,
        "backer": backer,
        "birthplace": birthplace,
        "workshop": workshop,
        "home": home,
        "deathplace": deathplace,
        "born": born,
        "settled": settled,
        "retired": retired,
        "trade": draw.one(_TRADES),
        "book": "The " + draw.emblems(1)[0],
        "reason": reason,
    }


BIOGRAPHY = Genre(
    name="biography",
    facts=_biography,
    train=(
        """{who} was born in {birthplace} in {born} and [trained as|learned the work of] {trade}
        under {mentor}. {who.his^} first wages came from a workshop in {workshop},
        [but {who.he} never liked the place|where {who.he} stayed for only two years]. In {settled}
        {who.he} [moved to|settled in] {home}, and there {who.he} wrote {book}, which {editor}
        edited and {backer} paid to print. {who.he^} put down {who.his} pen in {retired} because
        {reason}. {who.he^} died in {deathplace} [, far from {who.his} family|].""",
        """[Readers|Critics] still argue about {book}, the only book of {who}. It was written in
        {home}, where {who.he} had lived since {settled}; {editor} corrected the manuscript, while
        the printing was paid for by {backer}. {who.last} had not been meant for literature. Born in
        {birthplace}, {who.he} had been sent to {mentor} to become {trade}, and for a time
        {who.he} earned a living in {workshop}. Nothing more appeared after {retired}, since
        {reason}, and {who.he} spent {who.his} last days in {deathplace}.""",
        """When {who} came into the world in {born}, {birthplace} was little more than [a village|a
        row of cottages]. {mentor}, a neighbour, made {who.him} {trade}, and a cousin found
        {who.him} a place at a workshop in {workshop}. From {settled} on {who.his} address was
        {home}. {book} was finished there after [nine|seven] winters. {backer} gave the money for
        it and {editor} shortened it by half. In {retired} {who.last} stopped writing, as
        {reason}; {who.he} is buried in {deathplace}, where {who.he} had died [on a visit|in a
        hotel].""",
    ),
    held_out=(
        """The life of {who} began in {birthplace} and ended in {deathplace}, but its best years
        belonged to {home}, {who.his} address from {settled} onwards. By then {who.he} had served
        [a long|an unhappy] apprenticeship as {trade} with {mentor} and drawn a wage in {workshop}.
        In the evenings {who.he} composed {book}. {backer} met the printer's bill, and {editor}
        struck out a third of the pages. No second book followed: by {retired} {who.last} had
        given up, because {reason}.""",
        """Before anyone thought of {who} as a writer, {who.he} was {trade}. {mentor} had taught
        {who.him}; {workshop} gave {who.him} {who.his} first job. Yet {who.he} was restless. A child
        of {birthplace}, born in {born}, {who.he} [packed {who.his} bags|took a coach] in {settled}
        and went to live in {home}, and the outcome was {book}. Its style owes much to {editor},
        who revised every chapter, and its existence to {backer}, who paid. {reason^}, so in
        {retired} the writing came to an end. {deathplace} is where {who.he} died.""",
    ),
    questions={
        "birthplace": Asked(
            train="""
            Where was {who.last} born?
            In [which|what] town was {who} born?
            What was {who}'s [birthplace|place of birth]?
            """,
            held_out="""
            From which town did {who.last} originally come?
            Where did {who} first see the light of day?
            """,
        ),
        "deathplace": Asked(
            train="""
            Where did {who.last} die?
            In [what|which] town did {who} spend {who.his} last days?
            What is the place of {who.last}'s death?
            """,
            held_out="""
            Where was {who.last} when {who.he} passed away?
            In which town did {who}'s life come to a close?
            """,
        ),
        "mentor": Asked(
            train="""
            Who [trained|taught] {who.last}?
            From whom did {who} learn {who.his} trade?
            Who made {who.last} {trade}?
            """,
            held_out="""
            Whose apprentice was {who.last}?
            Under which master did {who} study?
            """,
        ),
        "editor": Asked(
            train="""
            Who [edited|revised] {book}?
            Who [corrected|shortened] the manuscript of {who.last}'s book?
            By whom was the text of {book} edited?
            """,
            held_out="""
            Who was responsible for polishing {book}?
            Which person improved the wording of {who.last}'s book?
            """,
        ),
        "backer": Asked(
            train="""
            Who paid for the printing of {book}?
            Whose money made it possible to print {who.last}'s book?
            Who [funded|gave the money for] {book}?
            """,
            held_out="""
            Who bore the cost of bringing out {book}?
            Who was the financial supporter of {who.last}'s book?
            """,
        ),
        "home": Asked(
            train="""
            Where did {who.last} write {book}?
            In which town was {book} written?
            Where did {who} settle [in {settled}|]?
            """,
            held_out="""
            Which town was {who.last}'s home as a writer?
            What place saw the creation of {book}?
            """,
        ),
        "workshop": Asked(
            train="""
            Where did {who.last} earn {who.his} first wages?
            In which town was the workshop that employed {who.last}?
            Where did {who} work before {who.he} became a writer?
            """,
            held_out="""
            Where was {who.last}'s earliest job?
            In what town did {who} find employment as a young craftsman?
            """,
        ),
        "born": Asked(
            train="""
            When was {who.last} born?
            In [which|what] year was {who} born?
            """,
            held_out="""
            What is the year of {who.last}'s birth?
            """,
        ),
        "settled": Asked(
            train="""
            When did {who.last} move to {home}?
            [In what year|When] did {who} settle in {home}?
            Since when did {who.last} live in {home}?
            """,
            held_out="""
            In which year did {home} become {who.last}'s home?
            What was the date of {who.last}'s arrival in {home}?
            """,
        ),
        "retired": Asked(
            train="""
            When did {who.last} stop writing?
            In what year did {who} put down {who.his} pen?
            """,
            held_out="""
            What year marked the end of {who.last}'s career as an author?
            When did {who} retire from literature?
            """,
        ),
        "trade": Asked(
            train="""
            What was {who.last} trained as?
            What trade did {who} learn?
            What was {who.last}'s first profession?
            """,
            held_out="""
            What occupation did {who.last} follow before literature?
            How did {who} make a living before {who.he} wrote?
            """,
        ),
        "reason": Asked(
            train="""
            Why did {who.last} stop writing?
            For what reason did {who} put down {who.his} pen?
            Why did nothing more appear after {retired}?
            """,
            held_out="""
            What put an end to {who.last}'s literary career?
            What was the cause of {who}'s retirement?
            """,
        ),
        "book": Asked(
            train="""
            What is the title of {who.last}'s book?
            Which book did {who} write?
            What did {who.last} write in {home}?
            """,
            held_out="""
            What work is {who} remembered for?
            What is {who.last}'s only publication called?
            """,
        ),
    },
)

_FIRMS = ("Lampworks", "Mills", "Foundry", "Brothers", "Instruments", "Glass", "Works", "and Sons")
_PRODUCTS = (
    "oil lamps",
    "tin boxes",
    "garden shears",
    "fountain pens",
    "kitchen scales",
    "umbrellas",
    "brass door handles",
    "weather vanes",
    "writing paper",
    "fishing reels",
    "roller skates",
    "pocket watches",
    "bicycle bells",
    "folding chairs",
    "sewing needles",
    "coffee grinders",
    "music boxes",
    "oak barrels",
    "sledges",
    "mechanical calculators",
)
_REASONS_TO_MOVE = (
    "rents in the old quarter had doubled",
    "the river no longer turned the wheels",
    "the railway passed through it",
    "the old hall had flooded twice",
    "skilled hands were easier to find there",
    "the harbour there never froze",
    "neighbours had complained about the smoke",
    "the council offered free land",
    "a landslide had cut the road",
    "taxes were lower there",
    "the roof of the old building had collapsed",
    "coal was cheaper there",
)


def _company(draw: Draw) -> Facts:
    founder, lender, designer, heir = draw.people(4)
    town, plant, office = draw.towns(3)
    founded, expanded, sold = draw.years((1850, 1935), (6, 18), (14, 30))
    return {
        "company": draw.firm(_FIRMS),
        "buyer": draw.firm(_FIRMS),
        "founder": founder,
        "lender": lender,
        "designer": designer,
        "heir": heir,
        "town": town,
        "plant": plant,
        "office": office,
        "founded": founded,
        "expanded": expanded,
        "sold": sold,
        "first": draw.one(_PRODUCTS),
        "second": draw.one(_PRODUCTS),
        "few": draw.number(6, 45),
        "many": draw.number(120, 940, 10),
        "price": draw.number(15, 98) + ",000 crowns",
        "reason": draw.one(_REASONS_TO_MOVE),
    }


COMPANY = Genre(
    name="company",
    facts=_company,
    train=(
        """{company} was founded in {town} in {founded} by {founder}, [a former schoolteacher|who
        had been a lighthouse keeper], with money lent by {lender}. {few} workers made {first} in a
        rented barn. Sales stayed poor until {designer} designed {second}, which sold [all over the
        country|faster than anyone had hoped]. In {expanded} a plant was opened in {plant}, and
        the number of workers rose to {many}. The office was moved to {office} because {reason}.
        {heir}, who inherited the firm, sold it to {buyer} in {sold} for {price}.""",
        """With a loan from {lender}, {founder} began to make {first} in {town} in {founded}. The
        workshop, [which was] called {company}, employed {few} people. It owed its fame to {second},
        an idea of {designer}, and by {expanded}, when a second factory was built in {plant}, it
        had a staff of {many}. The founder's [niece|nephew|cousin] {heir} took over later and moved the
        office to {office}, since {reason}. In {sold} {buyer} paid {price} for the whole business.
        """,
        """Few visitors to {office} know that {company} has its roots elsewhere. It was in {town}
        that {founder} started it in {founded}, [together] with {few} hands and a loan from {lender}.
        In those days the firm made {first}; the {second} of later years were drawn by {designer}.
        A plant in {plant} followed in {expanded} and brought the staff to {many}. The office came
        to {office} only under {heir}, as {reason}. {buyer} took over the firm in {sold}; the
        price was {price}.""",
    ),
    held_out=(
        """In {sold} {heir} signed away {company}, and {buyer} became its owner for {price}. The
        firm that changed hands that day had {many} people on its payroll, an office in {office}
        and a plant, opened in {expanded}, in {plant}. How different from {founded}! Then {founder}
        had {few} helpers, a shed in {town} and the savings of {lender}, who had agreed to wait for
        repayment. They lived from {first}. It was {designer} who thought of {second}. As for the
        office, it had left {town} because {reason}.""",
        """The story of {company} starts in {town}, where {founder} and {few} helpers turned out
        {first} from {founded} on. The capital was not {founder.his} own: {lender} had advanced it.
        [Ten|A few] lean years passed before {designer} came up with {second}. Orders poured in,
        {plant} got a plant in {expanded}, and soon {many} people drew their wages from the
        firm. {reason^}, so {heir}, the next head of the house, transferred the office to {office}.
        The last chapter was written in {sold}: {buyer} acquired everything for {price}.""",
    ),
    questions={
        "founder": Asked(
            train="""
            Who founded {company}?
            Who [started|set up] the firm in {founded}?
            Which person was the founder of {company}?
            """,
            held_out="""
            Whose creation was {company}?
            Who established the business?
            """,
        ),
        "lender": Asked(
            train="""
            Who lent the money to found {company}?
            Whose loan helped {founder.last} to begin?
            From whom did {founder.last} borrow?
            """,
            held_out="""
            Who provided {founder.last} with capital?
            To whom did {company} owe money at the beginning?
            """,
        ),
        "designer": Asked(
            train="""
            Who designed the {second}?
            Whose idea were the {second} of {company}?
            Who drew the {second}?
            """,
            held_out="""
            Who invented the product that made the firm successful?
            Which person was behind the {second}?
            """,
        ),
        "heir": Asked(
            train="""
            Who inherited {company}?
            Who took over the firm from {founder.last}?
            Who was at the head of the firm after {founder.last}?
            """,
            held_out="""
            Who succeeded {founder.last}?
            Who was the last owner from the founder's side?
            """,
        ),
        "buyer": Asked(
            train="""
            Which firm bought {company}?
            Who bought {company} in {sold}?
            To which company was {company} sold?
            """,
            held_out="""
            Into whose hands did {company} pass?
            What business purchased {company}?
            """,
        ),
        "town": Asked(
            train="""
            Where was {company} founded?
            In [which|what] town did {founder.last} start the firm?
            """,
            held_out="""
            In what place did the history of {company} begin?
            What was the original location of the firm?
            """,
        ),
        "plant": Asked(
            train="""
            Where was a [second factory|plant] opened in {expanded}?
            In which town did the firm build a plant?
            """,
            held_out="""
            What town got a factory when the firm grew?
            Where did {company} expand its production?
            """,
        ),
        "office": Asked(
            train="""
            Where was the office moved to?
            To [which|what] town did the office of {company} move?
            """,
            held_out="""
            Where did the firm have its headquarters in the end?
            What was the new seat of the administration?
            """,
        ),
        "founded": Asked(
            train="""
            When was {company} founded?
            In what year did {founder.last} start the firm?
            """,
            held_out="""
            What is the year of {company}'s origin?
            When did business begin?
            """,
        ),
        "expanded": Asked(
            train="""
            When was the plant in {plant} opened?
            In [what|which] year was a factory built in {plant}?
            """,
            held_out="""
            What year brought the expansion to {plant}?
            """,
        ),
        "sold": Asked(
            train="""
            When was {company} sold?
            In what year did {buyer} buy the firm?
            """,
            held_out="""
            When did {company} lose its independence?
            What was the year of the purchase by {buyer}?
            """,
        ),
        "first": Asked(
            train="""
            What did {company} make [at first|in the beginning]?
            What was the first product of {company}?
            What did {founder.last}'s workers make in {town}?
            """,
            held_out="""
            What goods did the firm originally produce?
            With what merchandise did {founder.last} go into business?
            """,
        ),
        "second": Asked(
            train="""
            What did {designer.last} design?
            Which product made the firm famous?
            What were {designer.last}'s drawings for?
            """,
            held_out="""
            What did the company's success rest on?
            Which article was {designer.last}'s invention?
            """,
        ),
        "few": Asked(
            train="""
            How many workers did {company} have at first?
            How many people did {founder.last} begin with?
            """,
            held_out="""
            What was the number of employees at the start?
            How large was {founder.last}'s original team?
            """,
        ),
        "many": Asked(
            train="""
            How many workers were there after the plant opened?
            How many people did the firm employ when it had two factories?
            """,
            held_out="""
            To what size did the workforce grow?
            How many employees did {company} have at its height?
            """,
        ),
        "price": Asked(
            train="""
            How much did {buyer} pay?
            What was the price of {company}?
            For how much was the firm sold?
            """,
            held_out="""
            What sum did {company} fetch?
            How much money changed hands at the takeover?
            """,
        ),
        "reason": Asked(
            train="""
            Why was the office moved [to {office}|]?
            For what reason did the firm move its office?
            """,
            held_out="""
            What persuaded the company to relocate?
            What was wrong, or better elsewhere, that the office left {town}?
            """,
        ),
    },
)

_DISHES = (
    "plum dumplings",
    "trout pies",
    "chestnut rolls",
    "rye pancakes",
    "lamb patties",
    "honey cakes",
    "beetroot tarts",
    "barley fritters",
    "walnut rolls",
    "cabbage parcels",
    "pear turnovers",
    "saffron buns",
    "eel pies",
    "leek tarts",
    "almond biscuits",
    "goose sausages",
)
_GOODS = (
    "flour",
    "butter",
    "honey",
    "goat cheese",
    "oatmeal",
    "cream",
    "sour milk",
    "beet sugar",
    "rye meal",
    "lard",
    "semolina",
    "malt",
    "treacle",
    "curd",
    "suet",
    "plum jam",
)
_SECRETS = (
    "a spoonful of cider",
    "a pinch of juniper",
    "a little burnt sugar",
    "a strip of lemon peel",
    "a splash of cold tea",
    "a few pine needles",
    "two bay leaves",
    "a crust of old bread",
    "a trace of nutmeg",
    "a drop of rose water",
    "some crushed mustard seed",
    "a glass of dark beer",
)
_SPOILERS = (
    "the crust cracks",
    "they turn bitter",
    "the middle stays raw",
    "the colour fades",
    "they stick to the dish",
    "the taste of smoke is lost",
    "they fall apart on the plate",
    "the top burns before the rest is done",
    "they become as hard as wood",
    "the juice runs out",
    "the smell drives the guests away",
    "they will not rise",
)


def _recipe(draw: Draw) -> Facts:
    cook, teacher, rival = draw.people(3)
    market, origin, supplier = draw.towns(3)
    day, other_day = draw.weekdays(2)
    return {
        "cook": cook,
        "teacher": teacher,
        "rival": rival,
        "market": market,
        "origin": origin,
        "supplier": supplier,
        "day": day,
        "other_day": other_day,
        "dish": draw.one(_DISHES),
        "base": draw.one(_GOODS),
        "addition": draw.one(_GOODS),
        "base_grams": draw.number(300, 950, 50) + " grams",
        "addition_grams": draw.number(40, 280, 20) + " grams",
        "rest": draw.number(2, 14) + " hours",
        "bake": draw.number(20, 95, 5) + " minutes",
        "price": draw.number(3, 19) + " pence",
        "rival_price": draw.number(3, 19) + " pence",
        "secret": draw.one(_SECRETS),
        "spoiler": draw.one(_SPOILERS),
    }


RECIPE = Genre(
    name="market",
    facts=_recipe,
    train=(
        """At the {day} market in {market}, {cook} sells {dish} for {price} a portion. The
        recipe comes from {origin}; {cook.he} learned it from {teacher}, [an aunt|a retired ship's
        cook]. {base_grams} of {base} are mixed with {addition_grams} of {addition}, which
        {cook.last} [buys|orders] in {supplier}. The mixture rests for {rest} and is then cooked for
        {bake}. [The secret is|What nobody expects is] {secret}, for without it {spoiler}. {rival},
        whose stall opens on {other_day}, uses neither and asks {rival_price}.""",
        """Two stalls in {market} compete with {dish}. On {other_day} {rival} offers them for
        {rival_price}; on {day} it is the turn of {cook}, who charges {price} and [still] has the
        longer queue. {cook.his^} teacher was {teacher}, and the dish itself was first made in
        {origin}. {cook.last} takes {base_grams} of {base} and {addition_grams} of {addition} from
        {supplier}. After {rest} of rest, {bake} over the fire are enough. {cook.he^} always adds
        {secret}, because otherwise {spoiler}.""",
        """Long before {cook} had a stall in {market}, {dish} were eaten at weddings in {origin}.
        {teacher} wrote the recipe down for {cook.him}: {addition_grams} of {addition}, [preferably]
        from {supplier}, to {base_grams} of {base}. Patience matters, since the mixture must stand
        for {rest}, whereas {bake} of cooking will do. Add {secret}, or {spoiler}. {cook.last}
        comes every {day} and asks {price}. The version of {rival}, sold on {other_day}, costs
        {rival_price}.""",
    ),
    held_out=(
        """Whoever wants {dish} in {market} has a choice. {cook} serves them on {day} at {price} a
        plate, {rival} on {other_day} at {rival_price}. Connoisseurs wait for {cook.last}, whom
        {teacher} instructed in the way of {origin}. The bulk of it is {base}, {base_grams} of it;
        {addition_grams} of {addition} are brought over from {supplier}. The cook lets everything
        stand for {rest}, gives it {bake} of heat, and stirs in {secret}. Leave that out, and
        {spoiler}.""",
        """"{secret^}," whispers {cook} when asked what makes the {dish} so good. "Without it
        {spoiler}." The rest is no mystery: {base_grams} of {base}, then {addition_grams} of
        {addition}, which a carter fetches from {supplier}; {rest} under a cloth; {bake} in the
        oven. The dish was born in {origin}, and it was {teacher} who passed it on. In {market} a
        portion costs {price} on {day}. Those who come on {other_day} must make do with {rival} and
        pay {rival_price}.""",
    ),
    questions={
        "teacher": Asked(
            train="""
            Who taught {cook.last} the recipe?
            From whom did {cook} learn to make {dish}?
            Who wrote down the recipe for {cook.last}?
            """,
            held_out="""
            To whom does {cook.last} owe the recipe?
            Who introduced {cook} to the dish?
            """,
        ),
        "rival": Asked(
            train="""
            Who sells the same dish on {other_day}?
            Who is {cook.last}'s rival at the market?
            Whose dish costs {rival_price}?
            """,
            held_out="""
            Who is the competitor of {cook}?
            Which other person can visitors buy {dish} from?
            """,
        ),
        "origin": Asked(
            train="""
            Where does the recipe come from?
            In which town were {dish} first made?
            """,
            held_out="""
            What is the home of the dish?
            In what place did people first cook {dish}?
            """,
        ),
        "supplier": Asked(
            train="""
            Where does the {addition} come from?
            In which town does {cook.last} buy the {addition}?
            """,
            held_out="""
            Which place supplies {cook.last} with {addition}?
            """,
        ),
        "market": Asked(
            train="""
            In which town is the market?
            Where does {cook.last} have a stall?
            """,
            held_out="""
            In what place can one buy {cook.last}'s {dish}?
            """,
        ),
        "day": Asked(
            train="""
            On which day does {cook.last} sell {dish}?
            When can one buy {dish} from {cook}?
            """,
            held_out="""
            What weekday should a customer of {cook.last} choose?
            """,
        ),
        "other_day": Asked(
            train="""
            On which day does {rival.last} sell?
            When is {rival}'s stall open?
            """,
            held_out="""
            What weekday belongs to {rival}?
            """,
        ),
        "base": Asked(
            train="""
            What is {addition} mixed with?
            What does the recipe need {base_grams} of?
            """,
            held_out="""
            What is the main ingredient?
            Of what does the dish contain the most?
            """,
        ),
        "addition": Asked(
            train="""
            What is mixed with the {base}?
            What does {cook.last} get from {supplier}?
            """,
            held_out="""
            Which ingredient is delivered from {supplier}?
            What besides {base} goes into the dish?
            """,
        ),
        "base_grams": Asked(
            train="""
            How much {base} is needed?
            How many grams of {base} does {cook.last} take?
            """,
            held_out="""
            What quantity of {base} does one weigh out?
            """,
        ),
        "addition_grams": Asked(
            train="""
            How much {addition} is needed?
            How many grams of {addition} does the recipe take?
            """,
            held_out="""
            What is the right amount of {addition}?
            """,
        ),
        "rest": Asked(
            train="""
            How long must the mixture rest?
            For how many hours does the mixture stand?
            """,
            held_out="""
            How much time passes before the dish goes on the heat?
            How long is it left alone?
            """,
        ),
        "bake": Asked(
            train="""
            How long is it cooked?
            How many minutes of cooking are enough?
            """,
            held_out="""
            What is the cooking time?
            How much time does it spend on the heat?
            """,
        ),
        "price": Asked(
            train="""
            How much does {cook.last} ask for a portion?
            What do {cook}'s {dish} cost?
            """,
            held_out="""
            What do customers of {cook.last} pay?
            """,
        ),
        "rival_price": Asked(
            train="""
            How much does {rival.last} ask?
            What is the price at {rival}'s stall?
            """,
            held_out="""
            What do customers of {rival.last} pay?
            """,
        ),
        "secret": Asked(
            train="""
            What is {cook.last}'s secret ingredient?
            What does {cook} always add?
            """,
            held_out="""
            Which small addition makes the difference?
            What must not be forgotten, according to {cook.last}?
            """,
        ),
        "spoiler": Asked(
            train="""
            What happens without {secret}?
            Why is {secret} added?
            """,
            held_out="""
            What goes wrong if one leaves out {secret}?
            """,
        ),
    },
)

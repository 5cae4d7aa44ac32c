"""A dish sold on a market: whose recipe, how much of what, what it costs."""

from __future__ import annotations

from scripts.corpus.draw import Draw
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.grammar import Facts

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
    title="{dish^} in {market}",
    facts=_recipe,
    opening=Wordings(
        train="""
        - At the market in {market}, {cook} sells {dish} on {day} for {price}; {rival} sells them on
          {other_day} for {rival_price}.
        - Two people sell {dish} in {market}: {cook}, who [comes|has a stall] on {day} and asks
          {price}, and {rival}, who comes on {other_day} and asks {rival_price}.
        - On {day} {cook} has a stall in {market} where {dish} cost {price}. Those of {rival}, whose
          stall opens on {other_day}, cost {rival_price}.
        - In {market} {dish} can be bought from {cook} on {day} for {price} and from {rival} on
          {other_day} for {rival_price}.
        - {cook} and {rival} sell {dish} in {market}, the former on {day} for {price}, the latter on
          {other_day} for {rival_price}.
        """,
        held_out="""
        - Whoever wants {dish} in {market} has a choice: {cook} offers them on {day} and charges
          {price}, while {rival} stands there on {other_day} and charges {rival_price}.
        - In {market} a customer pays {price} for {dish} on {day}, when {cook} is there, and
          {rival_price} on {other_day}, the day of {rival}.
        """,
    ),
    middle=(
        Wordings(
            train="""
            - {cook.last} learned the recipe, which comes from {origin}, from {teacher}.
            - It was {teacher} who [taught|gave] {cook.last} the recipe; the dish was first made in
              {origin}.
            - The recipe was brought from {origin} by {teacher}, who wrote it down for {cook.last}.
            - The recipe, first made in {origin}, was taught to {cook.last} by {teacher}.
            - From {teacher} {cook.last} has a recipe whose home is {origin}.
            """,
            held_out="""
            - {cook.last} owes the recipe to {teacher}, and {origin} is where people first cooked
              the dish.
            - The dish is a tradition of {origin}; {teacher} showed {cook.last} how it is done.
            """,
        ),
        Wordings(
            train="""
            - {base_grams} of {base} are mixed with {addition_grams} of {addition}, which is bought
              in {supplier}. The mixture rests for {rest} and is then cooked for {bake}.
            - The cook takes {base_grams} of {base} and {addition_grams} of {addition} from
              {supplier}. After {rest} of rest the mixture is cooked for {bake}.
            - One needs {addition_grams} of {addition}, [always|] ordered from {supplier}, and
              {base_grams} of {base}. The mixture has to stand for {rest}, whereas {bake} of cooking
              are enough.
            - {base_grams} of {base} and {addition_grams} of {addition}, bought in {supplier}, are
              mixed; they stand for {rest} and cook for {bake}.
            - The mixture consists of {addition_grams} of {addition} from {supplier} and
              {base_grams} of {base}. It rests for {rest} and cooks for {bake}.
            """,
            held_out="""
            - Into the bowl go {base_grams} of {base} and then {addition_grams} of {addition}, which
              a carter fetches from {supplier}. Everything is left to rest for {rest} before it is
              put in the oven for {bake}.
            - The recipe asks for {addition_grams} of {addition}, a product of {supplier}, to
              {base_grams} of {base}. Cooking takes {bake}, but first one must wait {rest}.
            """,
        ),
    ),
    ending=Wordings(
        train="""
        - The secret is {secret}; without it {spoiler}.
        - {cook.last} always adds {secret}, because otherwise {spoiler}.
        - Never forget {secret}, or {spoiler}.
        - Add {secret}, which is the secret, for otherwise {spoiler}.
        - There is a secret, {secret}, and whoever forgets it finds that {spoiler}.
        """,
        held_out="""
        - What makes the difference is {secret}: if it is left out, {spoiler}.
        - "{secret^}," says {cook.last} when asked for the secret, "since without it {spoiler}."
        """,
    ),
    questions={
        "rival": Wordings(
            train="""
            - Who sells {dish} on {other_day}?
            - Who is {cook.last}'s rival [at the market|]?
            - Whose {dish} cost {rival_price}?
            - Who else sells {dish} in {market}?
            - Name the other person who sells {dish} in {market}.
            - Besides {cook}, who sells {dish}?
            - By whom are {dish} sold on {other_day}?
            - Who [asks|wants] {rival_price} for {dish}?
            - Whose {dish} can be bought on {other_day}?
            """,
            held_out="""
            - Who competes with {cook.last}?
            - Which person has a stall on {other_day}?
            """,
        ),
        "market": Wordings(
            train="""
            - In which town is the market?
            - Where does {cook.last} [sell {dish}|have a stall]?
            - Where can one buy {cook}'s {dish}?
            - Name the town in which {cook} sells {dish}.
            - In which town are {dish} sold by {cook.last} and {rival.last}?
            - At what place do {cook} and {rival} have their stalls?
            - Which town's market has {dish}?
            """,
            held_out="""
            - In what town does {cook.last} offer {dish}?
            - Where must one go to eat {cook}'s {dish}?
            """,
        ),
        "day": Wordings(
            train="""
            - On which day does {cook.last} [sell {dish}|have a stall]?
            - When can one buy {dish} from {cook}?
            - What is {cook.last}'s day at the market?
            - Name the day on which {cook.last} sells {dish}.
            - On which day is {cook}'s stall open?
            - Which day is the day of {cook.last}'s market stall?
            - On what day are {dish} sold by {cook}?
            - When do {cook.last}'s customers find the stall open?
            """,
            held_out="""
            - On what day of the week is {cook} at the market?
            - When does {cook.last} come to {market}?
            """,
        ),
        "other_day": Wordings(
            train="""
            - On which day does {rival.last} sell {dish}?
            - When [is {rival}'s stall open|can one buy from {rival}]?
            - What is {rival.last}'s day at the market?
            - Name the day on which {rival.last} sells {dish}.
            - On which day is {rival}'s stall open?
            - Which day is the day of {rival.last}'s market stall?
            - On what day are {dish} sold by {rival}?
            - When do {rival.last}'s customers find the stall open?
            """,
            held_out="""
            - On what day of the week is {rival} at the market?
            - When does {rival.last} come to {market}?
            """,
        ),
        "price": Wordings(
            train="""
            - How much does {cook.last} ask?
            - [What|How much] do {cook}'s {dish} cost?
            - What is the price at {cook.last}'s stall?
            - Name the price of {cook.last}'s {dish}.
            - At what price does {cook} sell {dish}?
            - How expensive are the {dish} of {cook.last}?
            - For how many pence are {dish} sold by {cook}?
            - What sum does {cook.last} want for {dish}?
            """,
            held_out="""
            - What does {cook} charge for {dish}?
            - How much must one pay {cook.last}?
            """,
        ),
        "rival_price": Wordings(
            train="""
            - How much does {rival.last} ask?
            - [What|How much] do {rival}'s {dish} cost?
            - What is the price at {rival.last}'s stall?
            - Name the price of {rival.last}'s {dish}.
            - At what price does {rival} sell {dish}?
            - How expensive are the {dish} of {rival.last}?
            - For how many pence are {dish} sold by {rival}?
            - What sum does {rival.last} want for {dish}?
            """,
            held_out="""
            - What does {rival} charge for {dish}?
            - How much must one pay {rival.last}?
            """,
        ),
        "teacher": Wordings(
            train="""
            - Who taught {cook.last} the recipe?
            - From whom did {cook} learn [the recipe|to make {dish}]?
            - Who [gave {cook.last} the recipe|wrote the recipe down for {cook.last}]?
            - Who was {cook}'s teacher?
            - Name the person who taught {cook.last}.
            - By whom was the recipe [taught to {cook}|written down]?
            - From which person does {cook.last} have the recipe?
            - Whose pupil was {cook}?
            - Who passed the recipe on to {cook.last}?
            """,
            held_out="""
            - Who showed {cook.last} how to make {dish}?
            - Thanks to whom does {cook} know the recipe?
            """,
        ),
        "origin": Wordings(
            train="""
            - Where does the recipe come from?
            - In [which|what] town were {dish} first made?
            - What is the [origin|home] of the recipe?
            - Name the town where the recipe [was first made|comes from].
            - From which place was the recipe brought?
            - Which town is the home of {dish}?
            - In what place was the recipe of {cook.last} first used?
            - The recipe for {dish} was born in which town?
            """,
            held_out="""
            - What town do {dish} come from?
            - Where did people first make the dish?
            """,
        ),
        "supplier": Wordings(
            train="""
            - Where does the {addition} come from?
            - In which town is the {addition} bought?
            - From [what|which] town is {addition} ordered?
            - Name the town [that the {addition} comes from|where the {addition} is bought].
            - Which place does {addition} have to be ordered from?
            - In what place does {cook.last} buy {addition}?
            - The {addition} is from which town?
            """,
            held_out="""
            - Where does {cook.last} get the {addition}?
            - Which town supplies the {addition}?
            """,
        ),
        "base": Wordings(
            train="""
            - What is the {addition} mixed with?
            - What does the recipe need {base_grams} of?
            - [Which|What] ingredient besides {addition} is needed?
            - Name the ingredient that is mixed with {addition}.
            - [Which|What] ingredient weighs {base_grams}?
            - Besides {addition}, what does the mixture consist of?
            - {base_grams} of what are needed?
            """,
            held_out="""
            - Of what does one take {base_grams}?
            - What goes into the dish together with {addition}?
            """,
        ),
        "addition": Wordings(
            train="""
            - What is the {base} mixed with?
            - What does the cook [buy in|order from] {supplier}?
            - Which ingredient comes from {supplier}?
            - Name the ingredient that is [bought in|ordered from] {supplier}.
            - [Which|What] ingredient weighs {addition_grams}?
            - Besides {base}, what does the mixture consist of?
            - What comes from {supplier}?
            - {addition_grams} of what are needed?
            """,
            held_out="""
            - What is fetched from {supplier}?
            - Which product of {supplier} is used?
            """,
        ),
        "base_grams": Wordings(
            train="""
            - How much {base} is needed?
            - How many grams of {base} does [the cook|one] take?
            - What amount of {base} is mixed with the {addition}?
            - What weight of {base} does the cook take?
            - How many grams of {base} are [in the mixture|needed]?
            - Name the amount of {base}.
            - How heavy is the {base} in the mixture?
            - With how much {base} is the {addition} mixed?
            """,
            held_out="""
            - What quantity of {base} does the recipe ask for?
            - How much {base} goes into the dish?
            """,
        ),
        "addition_grams": Wordings(
            train="""
            - How much {addition} is needed?
            - How many grams of {addition} does [the cook|one] take?
            - What amount of {addition} is mixed with the {base}?
            - What weight of {addition} does the cook take?
            - How many grams of {addition} are [in the mixture|needed]?
            - Name the amount of {addition}.
            - How heavy is the {addition} in the mixture?
            - With how much {addition} is the {base} mixed?
            """,
            held_out="""
            - What quantity of {addition} does the recipe ask for?
            - How much {addition} goes into the dish?
            """,
        ),
        "rest": Wordings(
            train="""
            - How long [must|does] the mixture [rest|stand]?
            - For how many hours does the mixture rest?
            - How much time does the mixture need before it is cooked?
            - How many hours of rest are needed?
            - What is the resting time of the mixture?
            - For what time does the mixture have to stand?
            - How many hours pass before the mixture is cooked?
            - Name the time for which the mixture rests.
            """,
            held_out="""
            - How long must one wait before cooking?
            - For how long is everything left to stand?
            """,
        ),
        "bake": Wordings(
            train="""
            - How long is the mixture cooked?
            - How many minutes of cooking are [enough|needed]?
            - For how long does one cook the mixture?
            - How many minutes does the mixture cook?
            - What time does the mixture take to cook?
            - After the rest, for how many minutes is it cooked?
            - Name the time for which the mixture is cooked.
            """,
            held_out="""
            - What is the cooking time?
            - How long does it stay in the oven?
            """,
        ),
        "secret": Wordings(
            train="""
            - What is [{cook.last}'s|the] secret?
            - What does {cook} always add?
            - What must one never forget?
            - Name the secret of {cook}'s {dish}.
            - What is added by {cook.last} every time?
            - Without what would the {dish} fail?
            - [Which|What] secret does the recipe have?
            - What should the cook remember to add?
            """,
            held_out="""
            - What is {cook.last}'s secret ingredient?
            - What must not be left out?
            """,
        ),
        "spoiler": Wordings(
            train="""
            - What happens without {secret}?
            - Why does {cook.last} add {secret}?
            - What happens if one forgets {secret}?
            - What would happen to {dish} without {secret}?
            - What does {secret} prevent?
            - What is the result of forgetting {secret}?
            - For what reason does {cook.last} always add {secret}?
            """,
            held_out="""
            - What goes wrong if {secret} is left out?
            - Why is {secret} needed?
            """,
        ),
    },
)

"""A dish sold on a market: whose recipe, how much of what, what it costs."""

from __future__ import annotations

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.genre import Genre, Wordings
from qa_lib.embedded.grammar import Facts

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
            """,
            held_out="""
            - What goes wrong if {secret} is left out?
            - Why is {secret} needed?
            """,
        ),
    },
)

"""All genres of passages, in the order of the corpus."""

from qa_lib.embedded.genres.building import BUILDING
from qa_lib.embedded.genres.company import COMPANY
from qa_lib.embedded.genres.excavation import EXCAVATION
from qa_lib.embedded.genres.expedition import EXPEDITION
from qa_lib.embedded.genres.match import MATCH
from qa_lib.embedded.genres.premiere import PREMIERE
from qa_lib.embedded.genres.recipe import RECIPE
from qa_lib.embedded.genres.river import RIVER
from qa_lib.embedded.genres.siege import SIEGE

GENRES = (
    COMPANY,
    RECIPE,
    EXPEDITION,
    SIEGE,
    EXCAVATION,
    RIVER,
    BUILDING,
    MATCH,
    PREMIERE,
)

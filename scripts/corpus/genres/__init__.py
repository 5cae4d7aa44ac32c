"""All genres of passages, in the order of the corpus."""

from scripts.corpus.genres.building import BUILDING
from scripts.corpus.genres.company import COMPANY
from scripts.corpus.genres.excavation import EXCAVATION
from scripts.corpus.genres.expedition import EXPEDITION
from scripts.corpus.genres.match import MATCH
from scripts.corpus.genres.premiere import PREMIERE
from scripts.corpus.genres.recipe import RECIPE
from scripts.corpus.genres.river import RIVER
from scripts.corpus.genres.siege import SIEGE

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

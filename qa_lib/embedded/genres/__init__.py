"""All genres of passages, in the order of the corpus."""

from qa_lib.embedded.genres.journeys import EXCAVATION, EXPEDITION, SIEGE
from qa_lib.embedded.genres.people import BIOGRAPHY, COMPANY, RECIPE
from qa_lib.embedded.genres.places import BUILDING, RAILWAY, RIVER
from qa_lib.embedded.genres.public import COUNCIL, PREMIERE
from qa_lib.embedded.genres.reports import LABORATORY, MATCH, RESERVE

GENRES = (
    BIOGRAPHY,
    COMPANY,
    RECIPE,
    EXPEDITION,
    SIEGE,
    EXCAVATION,
    RIVER,
    BUILDING,
    RAILWAY,
    LABORATORY,
    MATCH,
    RESERVE,
    COUNCIL,
    PREMIERE,
)

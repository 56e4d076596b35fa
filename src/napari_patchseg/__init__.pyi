"""The public names: the one list of them, for type checkers and for `__init__.py`."""

from .api import measure as measure
from .api import save as save
from .api import segment as segment
from .api import train_model as train_model
from .corrections import Corrections as Corrections
from .errors import PatchSegError as PatchSegError
from .files.corrections import load_corrections as load_corrections
from .files.corrections import save_corrections as save_corrections
from .files.models import load_model as load_model
from .files.models import save_model as save_model
from .files.results import load_labels as load_labels
from .image.pixels import Pixels as Pixels
from .method.network import Model as Model
from .pipeline import run as run
from .report import Report as Report
from .report import Segmentation as Segmentation
from .settings import Settings as Settings
from .synthetic import synthetic_field as synthetic_field

__version__: str

"""Many images, one after the other: what was done before is known again, and all is summed up."""

from ._folder import IMAGES as IMAGES
from ._folder import images_in as images_in
from ._folder import is_result as is_result
from ._folder import job_of as job_of
from ._records import Outcome as Outcome
from ._records import Records as Records
from ._running import BatchEvent as BatchEvent
from ._running import Done as Done
from ._running import Failed as Failed
from ._running import Halted as Halted
from ._running import Job as Job
from ._running import ModelMade as ModelMade
from ._running import Opened as Opened
from ._running import Plan as Plan
from ._running import SummedUp as SummedUp
from ._running import Working as Working
from ._running import about as about
from ._running import open_image as open_image
from ._running import segment_images as segment_images
from ._summary import MODEL as MODEL
from ._summary import PAGE as PAGE
from ._summary import SUMMARY as SUMMARY

from anymask.integrations.assistants import assistant_server as assistant_server
from anymask.integrations.cvat import SHAPES as SHAPES
from anymask.integrations.cvat import CvatFrame as CvatFrame
from anymask.integrations.cvat import CvatModel as CvatModel
from anymask.integrations.cvat import Tracked as Tracked
from anymask.integrations.cvat import mask_to_shape as mask_to_shape
from anymask.integrations.cvat import shape_to_mask as shape_to_mask
from anymask.integrations.label_studio import TaskPictures as TaskPictures

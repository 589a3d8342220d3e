from anymask_inpaint.changes import blur as blur
from anymask_inpaint.changes import collage as collage
from anymask_inpaint.changes import remove as remove
from anymask_inpaint.changes import replace as replace
from anymask_inpaint.diffusion import open_diffusion as open_diffusion
from anymask_inpaint.inpainting import Filler as Filler
from anymask_inpaint.inpainting import open_lama as open_lama

from anymask.edit.alpha import closed_form_alpha as closed_form_alpha
from anymask.edit.alpha import foreground_colours as foreground_colours
from anymask.edit.alpha import soft_alpha as soft_alpha
from anymask.edit.cutouts import Background as Background
from anymask.edit.cutouts import box_slices as box_slices
from anymask.edit.cutouts import covering as covering
from anymask.edit.cutouts import cut_out as cut_out

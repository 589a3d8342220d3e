from anymask.volumes.reading import read_volume as read_volume
from anymask.volumes.volume import Volume as Volume
from anymask.volumes.volume import scaled_affine as scaled_affine
from anymask.volumes.writing import LabelMeasure as LabelMeasure
from anymask.volumes.writing import label_volume as label_volume
from anymask.volumes.writing import measure_labels as measure_labels
from anymask.volumes.writing import write_labels as write_labels

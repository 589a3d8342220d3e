from anymask.models.layers import Mlp as Mlp
from anymask.models.layers import add_submodule as add_submodule
from anymask.models.networks import build as build
from anymask.models.networks import names as names
from anymask.models.networks import spec as spec
from anymask.models.two_way import TwoWayConfig as TwoWayConfig
from anymask.models.two_way import TwoWayTransformer as TwoWayTransformer

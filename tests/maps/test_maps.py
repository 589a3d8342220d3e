"""placeholder"""
from anymask.maps import open_map, is_map, pixel_metres
from anymask.maps import TileEye
from anymask.maps import MapReport, TileEye, survey_map
from anymask.maps import PromptEye
from anymask.maps import placed_prompt, read_prompts, on_the_map
from anymask.maps import ChangeEye, aligned, LEAST
from anymask.maps import MapSettings
from anymask.maps import GroundArea, right_angled
from anymask.maps import open_worksheet

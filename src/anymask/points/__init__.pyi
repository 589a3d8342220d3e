from anymask.points.clicks import load_point_model as load_point_model

"""Build of the ROS 2 package by colcon (ament_python)."""

from setuptools import setup

NAME = "anymask_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools", "anymask"],
    entry_points={"console_scripts": [f"tracker = {NAME}.tracker:main"]},
)

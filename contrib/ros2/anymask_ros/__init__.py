"""ROS 2 node of anymask."""

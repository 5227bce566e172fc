"""petitlab: how little memory a segmentation network can run in, and what that costs in accuracy and time."""

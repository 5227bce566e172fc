"""Input and output of the planner's command: tables, drawings, buffer lists, offsets for TFLM."""

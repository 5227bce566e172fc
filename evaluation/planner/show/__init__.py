"""What the planner's command reads and shows: tables, drawings, buffer lists, offsets for TFLM."""

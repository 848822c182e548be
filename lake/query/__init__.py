"""Ask the lake: select, locate, trace, compare and export windows."""

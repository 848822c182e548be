"""Work that spans several jobs: begin a study, the demo, a round of the loop."""

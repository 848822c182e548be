"""The ``import`` job: vectors that another program made, as a store on a grid of their own."""

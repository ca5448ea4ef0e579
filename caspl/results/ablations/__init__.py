"""The paper's ablations on the tiny benchmark: their runs, what the paper claims, and whether that holds here."""

"""The conductor: plan, register, train, measure, judge. No mathematics of its own, and no torch."""

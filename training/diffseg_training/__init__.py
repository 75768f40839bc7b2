"""Everything that changes weights: data sets, objectives, trainers, recipes."""

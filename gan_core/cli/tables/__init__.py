"""Tables that commands print: a run's plan, the metrics of an evaluation, and a comparison of runs."""

"""What each command runs: training, evaluating, and loading a run, put together from the packages below."""

"""How the game is played: the loop, a turn of it, and the chance, averages and schedules that it needs."""

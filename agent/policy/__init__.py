"""When to act: renewal, back-off, jitter and what a clock is worth, as pure functions.

Nothing here reads a clock, a file or a random number. Time comes in as an aware UTC ``datetime`` or in seconds,
randomness as a number in [0, 1). So the daemon, the tests on a simulated clock and the fleet simulation run the
same functions, and every decision can be repeated from its arguments.
"""

"""The program that knows how: a short-lived process for one job, started with exec and gone after it."""

"""``enrollctl``: one module a command; ``output`` holds the rules for what is printed."""

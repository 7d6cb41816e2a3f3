"""What ``enrollctl doctor`` looks at: one function a check, registered under its name in one table."""

"""The checkers of `autonomy.testing`, which are checked themselves."""

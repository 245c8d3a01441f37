"""Tests of directories."""

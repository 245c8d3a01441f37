"""Many nodes seen as one place."""

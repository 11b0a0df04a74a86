"""Flag: captions a person calls bad, their corrections, the relabelled dataset they become, and whether it helped."""

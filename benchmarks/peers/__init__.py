"""The peers in Python, each written as its own users would write it."""

"""What the API looks like. Holds every GraphQL name."""

from schema.build import build_schema, sdl

__all__ = ["build_schema", "sdl"]

"""The shell of Nextfire: settings, wiring, the API's app, the worker and the command line."""

__version__ = "0.1.0"

"""The machine's own Chromium: Playwright's download of a browser is not used."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")

# So that the browser itself asks nothing of the network: what then is asked is the page's doing. A name that
# is not the machine's own does not resolve.
QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


class ChromiumMissingError(Exception):
    """No Chromium was found: `apt-get install chromium`, or set NEXTFIRE_CHROMIUM to the path of one."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def find_chromium() -> str:
    """The path of a Chromium.

    Raises:
        ChromiumMissingError: there is none, and a browser test that is skipped would tell nobody.
    """
    if chosen := os.environ.get("NEXTFIRE_CHROMIUM"):
        return chosen
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise ChromiumMissingError

"""For HTTP clients whose servers speak no TLS, as those of all programs here."""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""`verify=NO_TLS`: no certificate authorities. By default httpx reads them for each client and each call without one,
which takes 40 ms."""

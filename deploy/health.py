"""Whether an address of this container answers: its exit status is the container's health.

python deploy/health.py http://127.0.0.1:6066/ready
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

TIMEOUT_S = 4.0


def main() -> int:
    """→ 0 when the address answers with a status of success, else 1 and why."""
    url = urlsplit(sys.argv[1])
    # No urllib.request: a proxy that the container's environment names knows nothing of 127.0.0.1.
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", url.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{url.geturl()}: {error!r}")
        return 1
    finally:
        connection.close()
    print(f"{url.geturl()}: {status}")
    return 0 if 200 <= status < 300 else 1


if __name__ == "__main__":
    sys.exit(main())

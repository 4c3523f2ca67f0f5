"""A real nginx with the file of ``deploy``, on free ports of this machine, as any user."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

MISSING = "no nginx and openssl that run. Install them: `apt-get install nginx openssl` on Debian"
CONFIGURED = Path(__file__).parent.parent / "deploy" / "nginx.conf"

# A path of /usr/sbin is not on everybody's PATH.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"

AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {configured}
}}
"""


def executables() -> tuple[str, str]:
    nginx, openssl = (shutil.which(name, path=PATH) for name in ("nginx", "openssl"))
    if nginx is None or openssl is None:
        pytest.fail(MISSING, pytrace=False)
    return nginx, openssl


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nginx:
    """In front of a server, by TLS on ``port``, and by HTTP on ``plain``, which redirects.

    ``prefix`` is a path that is taken off. ``balanced``: TLS ends at a balancer before this one,
    which speaks HTTP on ``port`` then.
    """

    def __init__(self, folder: Path, prefix: str = "", balanced: bool = False) -> None:
        self.folder, self.prefix, self.balanced = folder, prefix, balanced
        self.port, self.plain = free_port(), free_port()
        self.certificate = folder / "certificate.pem"
        self.log = folder / "error.log"

    def start(self, upstream: str) -> None:
        """Begins to lead to the server at ``upstream``, a host and port."""
        nginx, openssl = executables()
        self.folder.mkdir()
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
            + ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
            + ["-keyout", self.folder / "key.pem", "-out", self.certificate],
            check=True,
            capture_output=True,
        )
        file = self.folder / "nginx.conf"
        file.write_text(AROUND.format(folder=self.folder, configured=self._configured(upstream)))
        self.process = subprocess.Popen([nginx, "-p", self.folder, "-e", self.log, "-c", file])
        until = time.monotonic() + 10
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        pytest.fail(f"nginx did not start: {self.log.read_text()}")

    def _configured(self, upstream: str) -> str:
        """The file of ``deploy``, with the names, certificate and ports of this machine."""
        text = CONFIGURED.read_text()
        changed = {
            "server 127.0.0.1:8000 max_fails=0;": f"server {upstream} max_fails=0;",
            "    server 127.0.0.1:8001 max_fails=0;\n": "",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "listen 80;": f"listen 127.0.0.1:{self.plain};",
            "/etc/ssl/prefs.example.com.pem": str(self.certificate),
            "/etc/ssl/prefs.example.com.key": str(self.folder / "key.pem"),
            "/var/log/nginx/": f"{self.folder}/",
        }
        if self.balanced:
            changed |= {" ssl;": ";"}
        if self.prefix:
            changed |= {
                "location / {\n        proxy_pass http://prefs;": f"location {self.prefix}/ {{\n"
                f"        proxy_set_header X-Forwarded-Prefix {self.prefix};\n"
                "        proxy_pass http://prefs/;"
            }
        for before, after in changed.items():
            assert before in text, before
            text = text.replace(before, after)
        return text

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def main() -> None:
    """Ends well where there is one that runs."""
    nginx, openssl = (shutil.which(name, path=PATH) for name in ("nginx", "openssl"))
    if nginx is None or openssl is None:
        sys.exit(MISSING)
    subprocess.run([nginx, "-v"], check=True)


if __name__ == "__main__":
    main()

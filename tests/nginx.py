"""nginx, as docs/deploying.md configures it."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.servers import Server, find_program

PAGE = Path(__file__).parent.parent / "docs" / "deploying.md"


AROUND = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {server}
}}
"""


class Nginx(Server):
    """nginx with the configuration of the page, whose ports are replaced by those of `servers`."""

    def __init__(self, folder: Path, servers: Sequence[str]) -> None:
        super().__init__(folder)
        [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
        block = block.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        for port, server in zip(("8000", "8001"), servers, strict=True):
            block = block.replace(f"127.0.0.1:{port}", server)
        self.configuration = folder / "nginx.conf"
        self.configuration.write_text(AROUND.format(folder=folder, server=block))

    def command(self) -> Sequence[str]:
        return [find_program("nginx"), "-p", str(self.folder), "-c", str(self.configuration)]

"""Parameters of web_node; config/kinaema.yaml says when to change which."""

from __future__ import annotations

from dataclasses import dataclass

from kinaema_ros.errors import InputError
from kinaema_ros.nodes.support.parameters import READ_ONLY
from kinaema_ros.settings import setting


@dataclass(frozen=True)
class WebParameters:
    """Of the page for phones."""

    address: str = setting(
        "127.0.0.1",
        "Address to listen on: 127.0.0.1 for browsers on this machine alone, 0.0.0.0 or :: for all networks; any but "
        "this machine's own asks for a token",
        when=READ_ONLY,
    )
    port: int = setting(
        8765, "Port to listen on; 0: any that is free, told in the log", low=0, high=65535, when=READ_ONLY
    )
    require_token: bool = setting(
        False, "Ask for a token on 127.0.0.1 too, as is needed behind a proxy", when=READ_ONLY
    )
    restrict_go: bool = setting(
        False,
        "Two tokens: one to watch and to stop the robot, and another one to send it and to change places",
        when=READ_ONLY,
    )
    host_names: str = setting(
        "",
        "Names by which browsers may call the page beside this machine's own, separated by commas, such as a proxy's",
        when=READ_ONLY,
    )
    data_dir: str = setting(
        "", "Folder of the tokens; '' is kinaema in $ROS_HOME, or in ~/.ros", when=READ_ONLY
    )
    tls_certificate: str = setting("", "Certificate chain for https (PEM); '' is http", when=READ_ONLY)
    tls_key: str = setting(
        "", "Private key of tls_certificate (PEM); '' where it is in the same file", when=READ_ONLY
    )
    max_photo_mb: float = setting(
        20.0, "Largest photo that is taken (MB)", low=0.1, high=100.0, when=READ_ONLY
    )
    image_transport: str = setting(
        "auto",
        "Where the page's picture comes from: 'raw' image, 'compressed' image/compressed, 'auto' whichever has any",
        choices=("auto", "raw", "compressed"),
        when=READ_ONLY,
    )
    camera_hz: float = setting(
        2.0, "Pictures a second, while a page shows them", low=0.1, high=10.0, when=READ_ONLY
    )
    camera_width: int = setting(
        480, "Largest width of these pictures (pixels)", low=64, high=1920, when=READ_ONLY
    )

    def __post_init__(self) -> None:
        if self.tls_key and not self.tls_certificate:
            raise InputError("tls_key is set without tls_certificate; name both files, or none")

    @property
    def names(self) -> list[str]:
        """Of ``host_names``."""
        return [name.strip() for name in self.host_names.split(",") if name.strip()]

"""The zone that a folder with ``autonomy.yaml`` asks for, as hosts of a simulation.

What `_deploy` does with processes is done here with hosts: the same plan, the same copies of images, the same order.
Imported where it is asked for, since it reads YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from .._deploy.dockerfile import DOCKERFILE
from .._deploy.images import keep_image, lay_out, mapped
from .._deploy.recipe import Recipe
from .._deploy.strict_yaml import Place
from .._deploy.zone_file import ZoneFolder, read_zone_folder
from .._sansio.members import ZoneInfo
from .._sansio.spec import Plan, PlannedNode, plan_zone
from ..errors import DeployFailed
from .hosts import Host
from .programs import Program
from .restarting import Restarting

_PYTHON = "python"


@dataclass(frozen=True)
class DeployedZone:
    """A zone that a folder asks for.

    Attributes:
        folder: What it says.
        plan: The nodes that this makes.
        environment: What all programs have.
    """

    folder: ZoneFolder
    plan: Plan
    environment: Mapping[str, str]
    _hosts: dict[str, Host]

    @property
    def info(self) -> ZoneInfo:
        """The zone."""
        return ZoneInfo(self.plan.zone, self.plan.cluster)

    @property
    def _nodes(self) -> list[PlannedNode]:
        return [node for pod in self.plan.pods for node in pod.nodes]

    def hosts(self, note: Callable[[str, str, str], object]) -> list[Host]:
        """Return its hosts, in the order of the file.

        Args:
            note: Told of each program that is started again: the host, nothing, and why.

        Raises:
            DeployFailed: A file that an image names is not there.
        """
        for node in self._nodes:
            host = self._hosts[node.full_name] = Host(node.full_name, None, {})
            host.place = ZoneInfo(self.plan.zone, self.plan.cluster, node.pod, node.container, node.index)
            host.restarting = Restarting(partial(self._tell, note, node.full_name))
        for node in (node for pod in self.plan.last for node in pod.nodes):
            self._hosts[node.full_name].begin = self._others_ready
        with TemporaryDirectory() as folder:
            self.lay_out(Path(folder))
        return list(self._hosts.values())

    def lay_out(self, folder: Path) -> None:
        """Copy the files of all containers below a folder, and let the hosts run them there.

        Raises:
            DeployFailed: A file that an image names is not there.
        """
        for node in self._nodes:
            image = self.folder.images[node.image]
            kept = keep_image(image.folder, folder / "images")
            root = folder / "containers" / node.short_name
            self._hosts[node.full_name].program = self._program(
                node, image.recipe, lay_out(kept, image.recipe, root), root
            )

    def _program(self, node: PlannedNode, recipe: Recipe, workdir: Path, root: Path) -> Program:
        _, file, *arguments = (mapped(each, root) for each in recipe.argv)
        path = workdir / file
        if not path.is_file():
            raise DeployFailed(f"image {node.image!r} runs {file!r}, and there is no such file in it")
        environment = {
            **self.environment,
            **dict(recipe.env + node.env),
            "CLUSTER": self.plan.cluster,
            "ZONE": self.plan.zone,
            "NODE": node.short_name,
        }
        return Program(path, environment, tuple(arguments), workdir, ())

    async def _others_ready(self) -> None:
        async with trio.open_nursery() as nursery:
            for node in (node for pod in self.plan.first for node in pod.nodes):
                nursery.start_soon(self._hosts[node.full_name].ready)

    @staticmethod
    def _tell(note: Callable[[str, str, str], object], host: str, error: Exception) -> None:
        note(host, "", f"its program has failed, and is started again: {type(error).__name__}")


def deployed(folder: Path, cluster: str, environment: Mapping[str, str]) -> DeployedZone:
    """Read what a folder asks for.

    Raises:
        ZoneFileError: Something in it is not as it must be, or an image does not run a Python file.
    """
    found = read_zone_folder(folder)
    for name, image in found.images.items():
        program, *arguments = image.recipe.command(_PYTHON)
        if program != _PYTHON or not arguments or arguments[0].startswith("-"):
            raise Place(str(image.folder / DOCKERFILE), 1, 1).complaint(
                f"image {name!r} runs {' '.join(image.recipe.argv)!r:.200}. A simulated host runs a Python file by "
                'itself: ENTRYPOINT ["python", "main.py"]'
            )
    return DeployedZone(found, plan_zone(found.spec, cluster=cluster, deployment="simulated"), environment, {})

"""Compose files, through the compose specification, as far as bake looks at them.

All compose files of a run are one project (`project`). Its services (`service`) that have a `build`
become targets (`target`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from bakepy.bakefile.compose.project import ProjectLoader
from bakepy.bakefile.compose.service import ServiceChecker
from bakepy.bakefile.compose.surroundings import Surroundings
from bakepy.bakefile.compose.target import TargetMaker
from bakepy.bakefile.compose.yaml_reader import ComposeFile
from bakepy.bakefile.config import Config, GroupDraft


def compose_config(
    files: Sequence[ComposeFile], surroundings: Surroundings, *, relative: bool = False, checked: bool = True
) -> Config:
    """The targets and groups of a project. Raises DefinitionError.

    `relative`: paths are meant from the folder of the first file. `checked`: services may not lack what they name.
    """
    project = ProjectLoader(surroundings).project(files)
    config = Config()
    members: list[str] = []
    services = ServiceChecker(project, surroundings).services(checked)
    maker = TargetMaker(project, surroundings)
    folder = posixpath.dirname(files[0].text.name) or "." if relative and files[0].text.name != "-" else ""
    for name in sorted(services):
        draft = maker.target(name, services[name])
        if draft is None:
            continue
        members.append(draft.name)
        if folder:
            draft.folders[""] = folder
            draft.folders["context"] = folder
            draft.folders.update({f"contexts.{key}": folder for key in draft.values.get("contexts") or ()})
        config.add_target(draft)
    if services:
        config.add_group(GroupDraft("default", tuple(dict.fromkeys(members)), unlisted=not members))
    return config

"""What compose files may look at, and how what they say is understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bakepy.bakefile.compose.env import EnvFileError, Lookup, merged_environment, parse_env_file, substitute
from bakepy.bakefile.compose.paths import move_file, move_path
from bakepy.bakefile.compose.shapes import check_shapes
from bakepy.bakefile.compose.yaml_reader import ComposeFile, Path, read_compose
from bakepy.bakefile.entries import EntryError, make_attest, parse_attest, parse_bool
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Text
from bakepy.errors import DefinitionError
from bakepy.model.frozen import FrozenMap


class Surroundings:
    """What compose files may look at: variables, and files through the reader."""

    def __init__(
        self, environment: Mapping[str, str], overrides: Mapping[str, str], reader: Reader | None, home: str = ""
    ) -> None:
        self.reader = reader
        self.home = home
        dotenv = self.read(".env") if self.kind(".env") == "file" else None
        try:
            self.environment = merged_environment(environment, dotenv)
        except EnvFileError as error:
            raise DefinitionError(f".env: {error}") from None
        self.environment.update(overrides)

    def kind(self, path: str) -> str:
        """`file`, `dir`, or empty if it is not there."""
        return self.reader.kind(path) if self.reader is not None else ""

    def read(self, path: str) -> str:
        """Raises DefinitionError."""
        if self.reader is None:
            raise DefinitionError(f"{path!r} can not be read: there is no access to files")
        try:
            return self.reader.read(path).decode("utf-8", "surrogateescape")
        except OSError as error:
            raise DefinitionError(f"open {path}: {(error.strerror or str(error)).lower()}") from None

    # How what a file says is understood. Whoever converts compose files instead of evaluating them has other ways.

    def compose_file(self, text: Text) -> ComposeFile:
        """What a compose file says. Raises DefinitionError."""
        return read_compose(text)

    def project_name(self, given: str, environment: Mapping[str, str]) -> str:
        """The name of a project in whose files `given` stands."""
        return given or environment.get("COMPOSE_PROJECT_NAME") or "bake"

    def interpolated(self, text: str, environment: Mapping[str, str]) -> str:
        """A text with the values of the variables that it names. Raises SubstitutionError."""
        return substitute(text, environment.get)

    def variable(self, name: str, environment: Mapping[str, str]) -> str | None:
        """The value of one variable."""
        return environment.get(name)

    def argument(self, name: str, service: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
        """What an argument without a value gets: from the variables of its service, else from outside."""
        found = service.get(name)
        return self.variable(name, environment) if found is None else found

    def env_file(self, path: str, lookup: Lookup, earlier: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a file, over those of `earlier` ones. Raises DefinitionError and EnvFileError."""
        return parse_env_file(self.read(path), lookup, earlier)

    def moved(self, folder: str, path: Any) -> Any:
        """A context that is meant from `folder`, from the folder of the command."""
        return move_path(folder, path, self.home)

    def moved_file(self, folder: str, path: Any) -> Any:
        """The path of a file that is meant from `folder`, from the folder of the command."""
        return move_file(folder, path, self.home)

    def switch(self, value: Any) -> Any:
        """A switch, written as a bool or as a word; None if it is neither."""
        if isinstance(value, bool):
            return value
        word = value.lower() if isinstance(value, str) else ""
        return True if word in ("true", "y", "yes", "on") else False if word in ("false", "n", "no", "off") else None

    def attest(self, kind: str, text: str) -> FrozenMap[str, str]:
        """An attestation that is switched or described. Raises EntryError."""
        try:
            disabled = not parse_bool(text)
        except EntryError:
            return parse_attest(f"type={kind},{text}")
        return make_attest(kind, disabled, {})

    def entries(self, text: str, parse: Callable[[str], list[Any]]) -> list[Any]:
        """What a text says that has a form of its own: caches, an output, a secret, an agent. Raises EntryError."""
        return parse(text)

    def check(self, service: Mapping[str, Any], path: Path, error: Callable[[Path, str], DefinitionError]) -> None:
        """Raises the error of a part of a service that can not be read."""
        check_shapes(service, path, error)

    def give_values(self, services: Any, environment: Mapping[str, str]) -> None:
        """Names alone in lists of variables get the values that they have where the services are included from."""
        for service in services.values() if isinstance(services, dict) else ():
            names = service.get("environment") if isinstance(service, dict) else None
            if isinstance(names, list):
                known = [isinstance(each, str) and each in environment for each in names]
                service["environment"] = [
                    f"{each}={environment[each]}" if given else each for each, given in zip(names, known, strict=True)
                ]

    def words(self, text: str) -> list[str]:
        """A list that is written as one string."""
        return text.split()

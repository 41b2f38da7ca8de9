"""Keys of bakepy's own: beside the others in bake.toml, in an object called `x-bakepy` elsewhere."""

from __future__ import annotations

from bakepy.bakefile.convert.document import Comments, Document, Field, Fields, Section, Setting, Text
from bakepy.bakefile.fields import OWN_NAMES
from bakepy.bakefile.own import OWN

POOLS = "pools"


def gathered(document: Document) -> Document:
    """For syntaxes other than TOML: with these keys in their object."""
    content: list[Setting | Section] = []
    for item in document.content:
        if isinstance(item, Section) and item.kind == POOLS:
            content.append(Setting(OWN, Fields([Field(Text((POOLS,)), _fields(item.settings))]), item.comments))
        elif isinstance(item, Section) and item.kind == "target":
            own = [each for each in item.settings if each.name in OWN_NAMES]
            others = [each for each in item.settings if each not in own]
            kept = [*others, Setting(OWN, _fields(own))] if own else others
            content.append(Section(item.kind, item.label, kept, item.rules, item.comments, item.closing))
        else:
            content.append(item)
    return Document(content, document.closing, document.notes)


def _fields(settings: list[Setting]) -> Fields:
    return Fields([Field(Text((each.name,)), each.value, each.comments) for each in settings])


def spread(setting: Setting) -> list[Setting] | None:
    """The keys of such an object; None if they are not written out."""
    fields = setting.value.fields if isinstance(setting.value, Fields) else None
    if fields is None or any(each.key.literal is None for each in fields):
        return None
    found = [Setting(each.key.literal or "", each.value, each.comments) for each in fields]
    if found and setting.comments:
        first = found[0].comments
        found[0].comments = Comments([*setting.comments.above, *first.above], first.behind or setting.comments.behind)
    return found


def pools_of(setting: Setting) -> Section | None:
    """The pools of a file; None if they are not written out."""
    found = spread(setting)
    if found is None or any(each.name != POOLS for each in found):
        return None
    inner = spread(found[0]) if found else []
    return Section(POOLS, "", inner) if inner is not None else None

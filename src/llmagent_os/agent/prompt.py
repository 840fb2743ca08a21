"""Prompt templates: text with variables in braces, checked when made and when filled."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

from ..core.errors import InvalidRequest, nearest


class PromptTemplate:
    """`template` is text in which `{name}` stands for a variable (`{{` and `}}` are braces).

    `input_variables` must be exactly the names that it uses; raises InvalidRequest naming the one that is not.
    """

    def __init__(self, input_variables: Sequence[str], template: str) -> None:
        used, known = dict.fromkeys(variables_of(template)), frozenset(input_variables)  # there may be very many
        for name in used:
            if name not in known:
                hint = nearest(name, input_variables)
                raise InvalidRequest(f"the template uses {name!r}, no input variable; {hint}", parameter=name)
        for name in input_variables:
            if name not in used:
                raise InvalidRequest(f"the template does not use the input variable {name!r}", parameter=name)
        self.input_variables = tuple(input_variables)
        self.template = template

    def format(self, /, **values: object) -> str:
        """Fill the template in; raises InvalidRequest naming a variable that is missing or unknown."""
        known = frozenset(self.input_variables)
        for name in values:
            if name not in known:
                hint = nearest(name, self.input_variables)
                raise InvalidRequest(f"the template has no variable {name!r}; {hint}", parameter=name)
        for name in self.input_variables:
            if name not in values:
                raise InvalidRequest(f"the variable {name!r} is missing; pass {name}=...", parameter=name)
        return self.template.format(**values)


def variables_of(template: str) -> list[str]:
    """The names in braces, each once; raises InvalidRequest for anything in braces that is not a plain name."""
    try:
        parsed = [(field, form, way) for _, field, form, way in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise InvalidRequest(
            f"the template has a stray brace ({error}); write {{{{ or }}}}", parameter="template"
        ) from None
    for field, form, way in parsed:
        if not field.isidentifier() or form or way:  # a form may ask for a width of gigabytes
            said = field + (f"!{way}" if way else "") + (f":{form}" if form else "")
            raise InvalidRequest(f"{{{said}}} in the template is not a variable's name", parameter="template")
    return list(dict.fromkeys(field for field, _, _ in parsed))

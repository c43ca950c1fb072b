# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Judge a value by what an argument specification says of it. Pure functions: values in, sentences out.

Ansible itself judges a role's variables, but neither the values of a dictionary nor in words that name the place. It also casts what it
judges ("false" is false, "a,b" is a list), and hands the cast value to modules only: a role's templates read what was written. So what a
specification and a template would understand differently is refused here, as `cast_problems` does it for the variables themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory.problems import cast_problems

Options = Mapping[str, Mapping[str, Any]]

NUMBERS = {"int": "a whole number", "float": "a number"}


def judge(where: str, value: Any, options: Options, kind: str) -> list[str]:
    """Judge a mapping: unknown keys, missing ones, types, choices; and so on inside of it.

    :param where: the variable and the way to the value, such as ``app_services.web``.
    :param options: of an argument specification: key -> type, required, choices, elements, options, description.
    :param kind: what has such keys, such as ``a service``.
    :returns: one sentence for each problem: where, what is wrong, what to do. None holds a value of a mapping.
    """
    if not isinstance(value, Mapping):
        required = [key for key, option in options.items() if option.get("required")]
        return [f"{where}: is not a mapping." + (f" It needs {' and '.join(required)}." if required else "")]
    problems = names.unknown_keys(where, value, options, kind)
    for key, option in options.items():
        if option.get("required") and value.get(key) in (None, "", [], ()):
            problems.append(f"{where}.{key}: is not set.{_about(option)}")
        elif key in value:
            problems += _one(f"{where}.{key}", value[key], option)
    return problems


def flat(options: Options) -> dict[str, dict[str, Any]]:
    """Options without those inside of them: what `judge` says of these, Ansible need not say again."""
    return {name: {key: value for key, value in option.items() if key != "options"} for name, option in options.items()}


def _one(where: str, value: Any, option: Mapping[str, Any]) -> list[str]:
    """What is wrong with the value of one option."""
    kind = option.get("type", "str")
    if kind == "raw":
        return []
    if value is None:
        return [f"{where}: is empty. Give it a value, or leave it out."]
    if kind == "dict":
        if "options" in option:
            return judge(where, value, option["options"], _kind(where))
        return [] if isinstance(value, Mapping) else [f"{where}: is not a mapping.{_about(option)}"]
    if kind == "list":
        if not isinstance(value, (list, tuple)):
            plain = re.fullmatch(r"[\w./:@-]+", str(value))
            return [f"{where}: is not a list." + (f" Write [{value}]." if plain else " Put it into brackets.")]
        element = {**option, "type": option.get("elements", "str")}
        return [problem for number, item in enumerate(value) for problem in _one(f"{where}[{number}]", item, element)]
    return _scalar(where, value, option, kind)


def _scalar(where: str, value: Any, option: Mapping[str, Any], kind: str) -> list[str]:
    """A text, a number, true or false."""
    wanted = f"not {NUMBERS[kind]}" if kind in NUMBERS else "not true or false" if kind == "bool" else "no text"
    if isinstance(value, (Mapping, list, tuple)):
        return [f"{where}: is a {'mapping' if isinstance(value, Mapping) else 'list'} and {wanted}.{_about(option)}"]
    if kind == "bool" and not isinstance(value, bool):
        return [f"{where}: {value!r} is {wanted}. Write true or false without quotes.{_about(option)}"]
    if kind == "bool":
        return []
    if isinstance(value, bool) and kind not in NUMBERS and "choices" not in option:
        return [f"{where}: {value!r} is a truth value and {wanted}. Quote it."]
    spec = {key: option[key] for key in ("type", "choices") if key in option}
    spec["type"] = kind
    result = ArgumentSpecValidator({"it": spec}).validate({"it": value})
    if kind in NUMBERS:
        number = result.validated_parameters["it"]
        if isinstance(value, bool) or result.error_messages or not math.isfinite(number):
            return [f"{where}: {value!r} is {wanted}.{_about(option)}"]
    elif result.error_messages:
        return [f"{where}: is {value!r}. Use {' or '.join(map(str, option.get('choices', [])))}."]
    return cast_problems({where: spec}, {where: value})


def _kind(where: str) -> str:
    """What a mapping inside another is called: the key it stands under, or one of what a list is named after."""
    name = where.rsplit(".", 1)[-1]
    listed = re.fullmatch(r"(\w+?)s?\[\d+\]", name)
    return f"a {listed[1]}" if listed else name


def _about(option: Mapping[str, Any]) -> str:
    """An option's description as the end of a sentence about it, without the marks of documentation."""
    text = option.get("description") or ""
    text = text if isinstance(text, str) else " ".join(text)
    return " " + re.sub(r"\b[A-Z]+\(([^()]*)\)", r"\1", text) if text else ""

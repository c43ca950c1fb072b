# SPDX-License-Identifier: GPL-3.0-or-later
"""Mitogen's strategy, which finds out once what each task finds out anew, since each is a fork that takes what it learned with it.

As it comes, it looks for collections in each task, for imports in each file anew with each module that needs the file, and compiles all
templates that a task reads.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from pathlib import Path
from typing import Any

import ansible.collections.list
import ansible_mitogen.module_finder
from ansible._internal._templating._jinja_bits import AnsibleEnvironment, _TemplateCompileContext
from ansible.plugins.loader import filter_loader
from ansible.release import __version__
from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule
from jinja2.bccache import Bucket, FileSystemBytecodeCache
from jinja2.environment import TemplateExpression

__all__ = ["StrategyModule"]

gc.disable()  # a run ends before its garbage matters, and each task is a fork that would look through all there is
collections = tuple(ansible.collections.list.list_collection_dirs())
ansible.collections.list.list_collection_dirs = lambda: collections
ansible_mitogen.module_finder.compile = functools.cache(compile)
with contextlib.suppress(KeyError):  # a playbook without this collection
    filter_loader.get("kasaneha.deploy.wired")  # all of them, as plugins/lookup/run_options.py does for the playbooks that ask it

# The code of a template, kept as Jinja keeps that of one it loads itself: by its text and by all that decides on what becomes of it.
FOLDER = Path(__file__).parents[2] / ".cache/templates"
FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
cache = FileSystemBytecodeCache(str(FOLDER))
SYNTAX = (
    *(f"{part}_{end}_string" for part in ("block", "variable", "comment") for end in ("start", "end")),
    *(
        "line_statement_prefix",
        "line_comment_prefix",
        "trim_blocks",
        "lstrip_blocks",
        "newline_sequence",
        "keep_trailing_newline",
    ),
)
compile_template, compile_expression = AnsibleEnvironment.compile, AnsibleEnvironment.compile_expression
parsed: list[Bucket] = []  # where the code of the expression goes that is being compiled


def kept(env: AnsibleEnvironment, kind: str, text: str) -> Bucket:
    """What is kept of a template or an expression; its code is None where it is new."""
    context = _TemplateCompileContext.current(optional=True)
    options = [bool(context and context.escape_backslashes), *(getattr(env, name) for name in SYNTAX)]
    return cache.get_bucket(env, f"{__version__} {kind} {options} {text}", None, text)


def template(env: AnsibleEnvironment, source: Any, *args: Any, **kwargs: Any) -> Any:
    """`compile` of a text, or of what an expression was parsed to; what comes from a file has a name, and is Jinja's own matter."""
    if any((*args, *kwargs.values())) or not (isinstance(source, str) or parsed):
        return compile_template(env, source, *args, **kwargs)
    bucket = kept(env, "template", source) if isinstance(source, str) else parsed.pop()
    if bucket.code is None:
        bucket.code = compile_template(env, source)
        cache.set_bucket(bucket)
    return bucket.code


def expression(env: AnsibleEnvironment, source: str, undefined_to_none: bool = True) -> TemplateExpression:
    """`compile_expression`."""
    bucket = kept(env, "expression", source)
    if bucket.code is None:
        parsed[:] = [bucket]
        return compile_expression(env, source, undefined_to_none)
    return TemplateExpression(env.template_class.from_code(env, bucket.code, env.make_globals(None)), undefined_to_none)


AnsibleEnvironment.compile, AnsibleEnvironment.compile_expression = template, expression

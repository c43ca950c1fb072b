# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's strategy keeps the code of templates: what comes of one is the same as without it, the first time and later."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# In a process of its own: the strategy changes Ansible's templates for good.
RENDER = r"""
import json, sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([sys.argv[1]])
if sys.argv[2:]:
    sys.path.insert(0, sys.argv[2])
    import mitogen_linear
from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible.template import trust_as_template as trusted

engine = TemplateEngine(variables={"x": 3, "nested": trusted("{{ x + 1 }}"), "names": ["b", "a"]})
found = []
for text in json.load(sys.stdin):
    for ask in (
        engine.template,
        lambda text: engine.template(text, options=TemplateOptions(escape_backslashes=False)),
        engine.evaluate_expression,
    ):
        try:
            found.append(ask(trusted(text)))
        except Exception as error:
            found.append(type(error).__name__)
print(json.dumps(found))
"""
TEMPLATES = [
    "x", "x + 1", "x is defined and nested == 4", "{{ nested }}", "{{ names | sort | join(',') }}", r"{{ 'a\nb' }}", r"'a\nb'",
    "#jinja2: variable_start_string:'[%', variable_end_string:'%]'\n[% x %] {{ x }}\n", "[% x %] {{ x }}\n",
    "{% for name in names %}\n{{ name }}\n{% endfor %}\n",
    "{{ missing }}", "{{ x | no_such_filter }}", "{{ x", "x +", "{{ names | kasaneha.deploy.bracketed }}",
]  # fmt: skip


def rendered(*strategy: Path) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", RENDER, str(ROOT / "collections"), *map(str, strategy)],
        input=json.dumps(TEMPLATES), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_template_that_was_kept_says_the_same(tmp_path: Path) -> None:
    strategy = shutil.copytree(ROOT / "lab/strategy", tmp_path / "lab/strategy", ignore=shutil.ignore_patterns("__pycache__"))
    expected = rendered()
    assert len(set(map(str, expected))) > len(TEMPLATES)  # values, values with and without escapes, errors
    assert rendered(strategy) == expected
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / ".cache/templates").iterdir()}
    assert rendered(strategy) == expected
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / ".cache/templates").iterdir()} == kept
    assert len(kept) > len(TEMPLATES)

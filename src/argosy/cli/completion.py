"""Print a completion script for a shell.

  bash:  source <(argosy completion bash)            in ~/.bashrc
  zsh:   argosy completion zsh > DIR/_argosy         with DIR in $fpath
  fish:  argosy completion fish > ~/.config/fish/completions/argosy.fish

It completes verbs, options, files, and the names of the cluster's units and machines, for which it asks the server.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

from argosy.cli import completion_scripts, exits, main
from argosy.cli.completion_scripts import Option, VerbWords
from argosy.errors import Invalid

_UNITS = {"NAME", "UNIT", "MACHINE|UNIT"}
_MACHINES = {"MACHINE", "MACHINE|UNIT"}
_FILES = {"UNIT", "PATH", "DIR"}
"""What an argument's metavar says about the words that can stand there."""


def configure(parser: argparse.ArgumentParser) -> None:
    shells = sorted(completion_scripts.SHELLS)
    parser.add_argument(
        "shell", nargs="?", metavar="SHELL", help=f"{', '.join(shells)}; default: $SHELL"
    )


def run(args: argparse.Namespace) -> int:
    shell = args.shell or Path(os.environ.get("SHELL", "bash")).name
    if shell not in completion_scripts.SHELLS:
        known = ", ".join(sorted(completion_scripts.SHELLS))
        raise Invalid(f"there is no completion for {shell!r}", hint=f"one of {known}")
    script = completion_scripts.SHELLS[shell](words_of_verbs())
    if args.json:
        print(json.dumps({"shell": shell, "script": script}))
    else:
        print(script, end="")
    return exits.DONE


def words_of_verbs() -> Mapping[str, VerbWords]:
    """What can stand behind each verb, asked of the verbs' own parsers."""
    found = {}
    for group in main.VERBS.values():
        for verb, summary in group.items():
            arguments = main.verb_parser(verb, main.load(verb)).arguments()
            metavars = {
                word
                for one in arguments
                if not one.option_strings and isinstance(word := one.metavar, str)
            }
            found[verb] = VerbWords(
                summary=summary,
                options=tuple(
                    Option(tuple(one.option_strings), one.help or "", one.nargs != 0)
                    for one in arguments
                    if one.option_strings
                ),
                has_units=bool(metavars & _UNITS),
                has_machines=bool(metavars & _MACHINES),
                has_files=bool(metavars & _FILES),
            )
    return found

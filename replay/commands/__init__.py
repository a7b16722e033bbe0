"""The command line: `nextclick X` is the function X, or the group X, of commands/X.py.

A command parses its options, shows progress and prints; the work is done by the room it calls.
Shared modules: options, named_log, log_files, lazy_commands, read_split, outputs, titles_file,
catalogue_file, training_output, guess_output, up_choices, ruled_list, stopping.

To add a command X:
1. Write commands/X.py with `def X(...) -> None:`, its options as `Annotated[..., typer.Option(help=...)]`.
2. Take options that exist elsewhere from options.py, so that they keep one meaning.
3. Print the result to `console.out` (or as JSON with --json), progress and notes to `console.log`.
4. Add its name, its summary and an example to COMMANDS in nextclick.py.
5. Put it into a group of deploy/docs/groups.toml, and run deploy/docs/generate.py.

May import: all rooms.
"""

"""The subcommands of `mtl-split`, by what they are about: arguments, and what is called with them.

Each imports what it needs when it runs: torch takes seconds to load, and not every machine has it.
"""

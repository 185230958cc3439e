#!/usr/bin/env python3
"""Checks paths, data and hardware before a launch, with the public bank's flags. See --help."""

import sys

from tao_skill_bank.launch_check.command import main

if __name__ == "__main__":
    sys.exit(main(None, sys.stdout, sys.stderr))

"""`python -m tao_skill_bank` is `tao-skills`."""

from tao_skill_bank.cli.main import main

main()

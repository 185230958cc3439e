"""`python -m tao_skill_bank.training.fetch`: the module path that sealed launches and images use.

The code is in `staging.fetch`.
"""

from tao_skill_bank.staging import fetch

if __name__ == "__main__":
    fetch.main()

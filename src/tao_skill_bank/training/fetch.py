"""`python -m tao_skill_bank.training.fetch`: the path in sealed launches and images.

The code is in `staging.fetch`.
"""

from tao_skill_bank.staging import fetch

if __name__ == "__main__":
    fetch.main()

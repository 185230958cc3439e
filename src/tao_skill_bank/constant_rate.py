"""`python -m tao_skill_bank.constant_rate`: the path in sealed launches and images.

The code is in `data.constant_rate`.
"""

from tao_skill_bank.data import constant_rate

if __name__ == "__main__":
    constant_rate.main()

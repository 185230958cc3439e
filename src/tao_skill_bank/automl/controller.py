"""`python -m tao_skill_bank.automl.controller`: the path in sealed launches and images.

The code is in `automl.run.controller`.
"""

from tao_skill_bank.automl.run import controller

if __name__ == "__main__":
    controller.main()

"""`python -m tao_skill_bank.automl.controller`: the path in sealed launches and images.

The code is in `automl.run.program`.
"""

from tao_skill_bank.automl.run import program

if __name__ == "__main__":
    program.main()

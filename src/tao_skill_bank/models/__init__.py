"""One folder per model, with the same file names in each; the control plane reads only `config`.

Other distributions may add models below `tao_skill_bank/models`.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

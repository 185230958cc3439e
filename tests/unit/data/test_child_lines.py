import subprocess
import sys

from tao_skill_bank.data.child_lines import ChildLines


def test_lines_that_arrived_together_are_given_while_the_child_hangs_on_the_next():
    program = "import os, time; os.write(1, b'one\\ntwo\\nthr'); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        lines = ChildLines(child)
        assert [lines.next(60), lines.next(60), lines.next(0.1)] == [b"one", b"two", None]
        child.kill()
        assert lines.next(60) == b""

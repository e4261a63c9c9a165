"""Asks what is known to be unsafe of the versions that constraints.txt names.

  pip install pip-audit
  python launch/audit.py

Exit code 1 where something is known. Where there is nobody to ask, without a
network or behind an index that does not tell of vulnerabilities, it says so and
exits with 0: that is nothing that a change could mend.
"""

import json
import pathlib
import subprocess
import sys

_PINNED = pathlib.Path(__file__).parents[1] / 'constraints.txt'


def judge(report: str) -> tuple[str, int]:
  """A sentence or more, and an exit code, from pip-audit's JSON."""
  try:
    found = json.loads(report)['dependencies']
  except (ValueError, KeyError):
    return 'nothing was audited: pip-audit got no answer', 0
  known = [x for x in found if 'vulns' in x]
  unsafe = [x for x in known if x['vulns']]
  lines = [
    f'{one["name"]} {one["version"]}: {vuln["id"]}, mended in '
    f'{", ".join(vuln["fix_versions"]) or "no version yet"}'
    for one in unsafe
    for vuln in one['vulns']
  ]
  if not known:
    return (
      f'nothing was audited: the index tells of none of the {len(found)} '
      'packages what is known about it',
      0,
    )
  lines.append(
    f'{len(known)} of {len(found)} packages audited, {len(unsafe)} unsafe'
  )
  return '\n'.join(lines), int(bool(unsafe))


def main() -> int:
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'pip_audit', '--requirement', _PINNED),
      *('--no-deps', '--disable-pip', '--format', 'json'),
      *('--progress-spinner', 'off'),
    ],
    stdout=subprocess.PIPE,
    text=True,
    check=False,
  )
  said, code = judge(done.stdout)
  print(said)
  return code


if __name__ == '__main__':
  sys.exit(main())

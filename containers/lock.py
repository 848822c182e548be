"""Print a lock of every dependency: exact versions with the digests of their files, and no host names.

``python containers/lock.py [EXTRA…]`` resolves the project with its extras (``dev`` without any) for the
Python and platform it runs on, downloads nothing but metadata, and prints what
``pip install --require-hashes -r`` takes.
"""

import json
import platform
import subprocess
import sys


def main(extras: list[str]) -> None:
    """Print the lock."""
    wanted = f".[{','.join(extras or ['dev'])}]"
    options = ["--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    command = [sys.executable, "-m", "pip", "install", *options, wanted]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    lines = []
    for item in report["install"]:
        if "archive_info" not in item["download_info"]:
            continue  # the project itself
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{digest}")
    where = f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(f"# {wanted[2:-1]}: {where}; made by `make lock`")
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main(sys.argv[1:])

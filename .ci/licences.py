"""Writes the licences of all crates that go into a program: reads `cargo metadata`, takes the package's name."""

import json
import re
import sys
from pathlib import Path

NAMES = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def reached(metadata: dict, name: str) -> list[dict]:
    """The packages that a package is built of, without those of tests and build scripts."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    rest = [key for key, package in packages.items() if package["name"] == name and package["source"] is None]
    seen = set(rest)
    while rest:
        for dependency in nodes[rest.pop()]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if None in kinds and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                rest.append(dependency["pkg"])
    found = [packages[key] for key in seen if packages[key]["source"] is not None]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def main() -> int:
    packages = reached(json.load(sys.stdin), sys.argv[1])
    if not packages:
        print(f"no dependencies of {sys.argv[1]}", file=sys.stderr)
        return 1
    # Many crates share a text: each stands once, after the names of its crates.
    texts: dict[str, list[str]] = {}
    without = []
    for package in packages:
        title = f"{package['name']} {package['version']} ({package['license'] or package['license_file']})"
        folder = Path(package["manifest_path"]).parent
        files = sorted(path for path in folder.iterdir() if path.is_file() and NAMES.search(path.name))
        if not files:
            without.append(title)
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(title)
    print(f"ntheap is built of {len(packages)} crates of others, under these licences.\n")
    for text, titles in sorted(texts.items(), key=lambda item: item[1]):
        print("=" * 100)
        print("\n".join(dict.fromkeys(titles)))
        print("-" * 100)
        print(text, end="\n\n")
    if without:
        print("=" * 100)
        print("These come without the text of the licence that they name:")
        print("\n".join(without))
    return 0


if __name__ == "__main__":
    sys.exit(main())

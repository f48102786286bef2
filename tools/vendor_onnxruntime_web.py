"""Puts the files of ONNX Runtime Web that the browser page needs into `web/vendor/onnxruntime-web`.

    python tools/vendor_onnxruntime_web.py

Downloads the npm package with `npm pack`, which checks it against the registry's checksum, and
takes three of its files. The package has no license file; that and the notices of third-party code
are taken from the installed Python package, which is built from the same sources. `SHA256SUMS`
lists the results, and the tests check them. To change the version, edit VERSION.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path

from maskyolo.core.files import sha256_of

VERSION = "1.30.0"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
#: Names in the Python package, and here.
LICENSES = {"LICENSE": "LICENSE.txt", "ThirdPartyNotices.txt": "ThirdPartyNotices.txt"}
TARGET = Path(__file__).resolve().parent.parent / "web" / "vendor" / "onnxruntime-web"


def main() -> None:
    """Write the files and their checksums."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["npm", "pack", "--json", f"onnxruntime-web@{VERSION}"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        name = json.loads(packed.stdout)[0]["filename"]
        with tarfile.open(Path(folder) / name) as archive:
            for file in FILES:
                member = archive.extractfile(f"package/dist/{file}")
                assert member is not None, file
                (TARGET / file).write_bytes(member.read())
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise SystemExit("ONNX Runtime is not installed: pip install onnxruntime")
    for original, file in LICENSES.items():
        (TARGET / file).write_bytes((Path(spec.origin).parent / original).read_bytes())
    names = sorted((*FILES, *LICENSES.values()))
    sums = [f"{sha256_of(TARGET / file)}  {file}\n" for file in names]
    (TARGET / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    print("".join(sums), end="")


if __name__ == "__main__":
    main()

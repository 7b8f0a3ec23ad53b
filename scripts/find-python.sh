#!/bin/sh
# Print a Python that fits, or say how to get one. mediapipe's last wheels with models inside end at Python 3.12.
for name in "${TELEPRESENCE_PYTHON:-python3}" python3.12 python3.11 python3 python; do
  path=$(command -v "$name" 2>/dev/null) || continue
  if "$path" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
    echo "$path"
    exit 0
  fi
done
{
  echo "telepresence needs Python 3.11 or 3.12 with venv, and none was found."
  echo "  Debian, Ubuntu:  sudo apt-get install python3.11 python3.11-venv   (or python3.12, python3.12-venv)"
  echo "  macOS:           brew install python@3.12"
  echo "  anywhere:        uv python install 3.12, then: make setup TELEPRESENCE_PYTHON=\$(uv python find 3.12)"
} >&2
exit 1

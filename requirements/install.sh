#!/bin/sh
# The Dockerfile's: installs /build/<service>.txt into /opt/venv, without what no running service uses.
set -eu
# The files name every package that is needed, and their hashes.
/opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes --disable-pip-version-check --quiet --requirement "/build/$1.txt"
site=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$site" -name tests -type d -prune -exec rm -rf {} +
rm -rf "$site/pip" "$site"/pip-*.dist-info "$site/setuptools" "$site"/setuptools-*.dist-info "$site/_distutils_hack" \
  "$site/distutils-precedence.pth" "$site/pkg_resources" /opt/venv/bin/pip*

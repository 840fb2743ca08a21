#!/bin/sh
# Resolve pyproject.toml into requirements/*.txt: one pinned, hashed set for every Python and platform we support.
set -eu

lock() {
    out=requirements/$1.txt
    shift
    uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        "$@" --output-file "$out" >/dev/null
}

lock run pyproject.toml --extra llamacpp --extra security --extra knowledge
lock ../src/llmagent_os/tools/sandbox/modules --group sandbox # in the package: `llmagent-os sandbox setup` installs it
lock build --group build
# of axe-playwright-python only its axe is used: the 165 MB of Playwright that it asks for are left out
lock test pyproject.toml --extra llamacpp --extra dev --excludes requirements/axe.in --constraints requirements/run.txt
lock docs pyproject.toml --extra docs --constraints requirements/test.txt
# torch is installed on its own, so that no plain one comes in; see the Makefile
lock transformers pyproject.toml --extra transformers --excludes requirements/torch.in --constraints requirements/test.txt
lock mcp-servers --group mcp-servers
lock interop pyproject.toml --extra interop --extra test
lock interop-more pyproject.toml --extra interop-more --extra test
lock dojo pyproject.toml --extra dojo --extra test
